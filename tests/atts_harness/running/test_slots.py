"""Who gets a slot, and when."""

import asyncio

import pytest

from atts_harness.running.slots import Slots
from atts_harness.simulation.clock import run_simulated

WIDE = {"score": 9, "takeover": 9, "draft": 9}


async def queue(slots, *lanes):
    """Tasks that take a slot in the order given and note it; nobody gives one back."""
    got = []

    async def take(n, lane):
        await slots.acquire(lane)
        got.append(f"{lane} {n}")

    tasks = []
    for n, lane in enumerate(lanes):
        tasks.append(asyncio.create_task(take(n, lane)))
        await asyncio.sleep(0)
    return got, tasks


def test_scores_come_before_takeovers_and_takeovers_before_drafts():
    async def go():
        slots = Slots(WIDE, total=1)
        await slots.acquire("draft")
        got, _ = await queue(slots, "draft", "takeover", "draft", "score", "score")
        held = "draft"
        for _ in range(5):
            slots.release(held)
            await asyncio.sleep(0)
            held = got[-1].split()[0]
        return got

    assert run_simulated(go())[0] == ["score 3", "score 4", "takeover 1", "draft 0", "draft 2"]


def test_a_lane_that_is_full_holds_up_no_other():
    async def go():
        slots = Slots({"score": 1, "takeover": 9, "draft": 2})
        got, _ = await queue(slots, "score", "score", "draft", "draft", "draft", "takeover")
        return got, slots.in_use, slots.waiting

    got, held, waiting = run_simulated(go())[0]
    assert got == ["score 0", "draft 2", "draft 3", "takeover 5"]
    assert (held, waiting) == (4, 2)


def test_scores_and_takeovers_can_share_a_bound_that_drafts_are_free_of():
    async def go():
        slots = Slots(WIDE, target=2)
        got, _ = await queue(slots, "score", "takeover", "score", "draft")
        return got, slots.bound("score"), slots.bound("draft")

    got, of_scores, of_drafts = run_simulated(go())[0]
    assert got == ["score 0", "takeover 1", "draft 3"]
    assert (of_scores, of_drafts) == (2, 9)


@pytest.mark.parametrize("same_moment", [False, True])
def test_a_waiting_call_that_is_cancelled_costs_no_slot(same_moment):
    async def go():
        slots = Slots(WIDE, total=1)
        await slots.acquire("draft")
        got, tasks = await queue(slots, "draft", "draft")
        if same_moment:  # the slot is handed over, and then nobody is there to take it
            slots.release("draft")
            tasks[0].cancel()
        else:
            tasks[0].cancel()
            await asyncio.sleep(0)
            slots.release("draft")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return got, slots.in_use

    assert run_simulated(go())[0] == (["draft 1"], 1)


def test_a_retry_goes_to_the_front():
    async def go():
        slots = Slots(WIDE, total=1)
        await slots.acquire("draft")
        got, _ = await queue(slots, "draft")
        retry = asyncio.create_task(slots.acquire("draft", again=True))
        await asyncio.sleep(0)
        slots.release("draft")
        await asyncio.sleep(0)
        return got, retry.done()

    assert run_simulated(go())[0] == ([], True)


def test_while_paused_one_at_a_time_is_let_through():
    async def go():
        slots = Slots(WIDE)
        slots.pause()
        got, _ = await queue(slots, "draft", "draft", "score")
        before = list(got)
        admitted = slots.admit_one()
        await asyncio.sleep(0)
        one = list(got)
        slots.resume()
        await asyncio.sleep(0)
        return before, admitted, one, got, slots.admit_one()

    before, admitted, one, got, more = run_simulated(go())[0]
    assert (before, admitted, one) == ([], True, ["score 2"])
    assert got == ["score 2", "draft 0", "draft 1"]
    assert more is False


def test_closed_slots_let_nobody_in_even_when_resumed():
    async def go():
        slots = Slots(WIDE)
        slots.pause()
        got, _ = await queue(slots, "draft")
        slots.close()
        slots.resume()
        late, _ = await queue(slots, "score")
        return got, late, slots.admit_one()

    assert run_simulated(go())[0] == ([], [], False)


def test_when_slots_fail_all_who_wait_or_come_are_told():
    async def go():
        slots = Slots(WIDE)
        slots.pause()
        _, tasks = await queue(slots, "draft", "score")
        slots.fail(ValueError("gone"))
        told = await asyncio.gather(*tasks, return_exceptions=True)
        with pytest.raises(ValueError, match="gone"):
            await slots.acquire("draft")
        return told

    assert [str(error) for error in run_simulated(go())[0]] == ["gone", "gone"]


def test_idle_is_when_the_last_slot_is_given_back():
    async def go():
        slots = Slots(WIDE)
        await slots.acquire("draft")
        await slots.acquire("score")
        waiting = asyncio.create_task(slots.idle())
        slots.release("draft")
        await asyncio.sleep(0)
        early = waiting.done()
        slots.release("score")
        await asyncio.sleep(0)
        return early, waiting.done()

    assert run_simulated(go())[0] == (False, True)
