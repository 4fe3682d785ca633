"""`atts compare`: a plan of strategies, tasks, pairs and operating points, run cell by cell.

plan.py     what a plan file says          cells.py     the cells it stands for, checked
order.py    in which order they run        status.py    what is done, and what must not change
local.py    commands as subprocesses       servers.py   engines of a pair, and their caches
calibrations.py  a cell's bank, first      runner.py    all cells
sizes.py, probe.py, dry.py  the cost       command.py   the command line

The evaluation framework decides what a cell runs (`atts_harness.framework`), and the launcher where
it runs (`atts_harness.launcher`).
"""
