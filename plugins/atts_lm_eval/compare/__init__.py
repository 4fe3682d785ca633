"""`atts compare`: a plan of strategies, tasks, pairs and operating points, run cell by cell.

plan.py     what a plan file says          cells.py    the cells it stands for, checked
order.py    in which order they run        status.py   what is done, and what must not change
process.py  one cell as a subprocess       servers.py  engines of a pair, and their caches
calibrations.py  a cell's bank, first      runner.py   all cells, one after the other
probe.py    what it would cost             command.py  the command line
"""
