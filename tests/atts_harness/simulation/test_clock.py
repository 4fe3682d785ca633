"""Simulated time."""

import asyncio
import gc

import pytest

from atts_harness.simulation.clock import run_simulated


def test_hours_pass_at_once_and_exactly():
    assert run_simulated(asyncio.sleep(7200, "done")) == ("done", 7200.0)


def test_what_waits_for_ever_is_an_error_and_garbage_is_looked_for_as_before():
    async def waits():
        await asyncio.get_running_loop().create_future()

    before = gc.get_threshold()
    with pytest.raises(RuntimeError, match="never comes"):
        run_simulated(waits())
    assert gc.get_threshold() == before


def test_time_goes_on_after_a_year():
    async def work():
        await asyncio.sleep(2.0**25 + 0.3)
        for n in range(1, 1000):
            await asyncio.sleep(1 / n)

    _, seconds = run_simulated(work())
    assert seconds == pytest.approx(2.0**25 + 0.3 + sum(1 / n for n in range(1, 1000)), abs=1e-4)
