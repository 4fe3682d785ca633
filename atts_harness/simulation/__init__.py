"""Runs in simulated time: what a deployment would take in time, memory and money.

The scheduler, the strategies and their limits run unchanged; only the engines are simulated.
"""
