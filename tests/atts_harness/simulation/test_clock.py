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
