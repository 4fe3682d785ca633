"""Step costs of kernel tables: what is asked of them, and within which bounds."""

import pytest

from atts_harness.errors import MissingExtraError, SettingError
from atts_harness.shapes import shape_of
from atts_harness.simulation.costs import Roofline, Step, gpu_of
from atts_harness.simulation.kernels import Kernels, kernels

USUAL = Roofline(gpu_of("h100"), shape_of("Qwen/QwQ-32B"), 2)
DECODES = Step(decodes=16, context=16 * 1024, pairs=16 * 1024, rows=16)
# Two chunks of 100 tokens behind 960 each.
CHUNKS = Step(
    prefills=2,
    prompt_tokens=200,
    context=2 * 1060,
    pairs=2 * (100 * 960 + 100 * 101 / 2),
    rows=2,
)
MIXED = Step(
    decodes=16,
    prefills=2,
    prompt_tokens=200,
    context=DECODES.context + CHUNKS.context,
    pairs=DECODES.pairs + CHUNKS.pairs,
    rows=18,
)


class Tables:
    """Answers in milliseconds, and what was asked."""

    def __init__(self, decode=20.0, prefill=30.0, mixed=40.0):
        self.decode, self.prefill, self.mixed = decode, prefill, mixed
        self.asked = []

    def decode_step_latency(self, gen_tokens, isl, osl):
        self.asked.append(("decode", gen_tokens, isl))
        return self.decode

    def predict_prefill_latency(self, bs, isl, prefix=0):
        self.asked.append(("prefill", bs, isl, prefix))
        return self.prefill

    def mixed_step_latency(self, ctx_tokens, gen_tokens, isl, osl, prefix=0):
        self.asked.append(("mixed", ctx_tokens, gen_tokens, isl))
        return self.mixed


def kernel_seconds(step, **answers):
    found = Kernels(Tables(**answers), USUAL).seconds(step)
    return found.total - found.overhead


def test_a_step_asks_for_its_sequences_and_contexts():
    tables = Tables()
    Kernels(tables, USUAL).seconds(MIXED)
    assert tables.asked == [
        ("prefill", 2, 1060, 960),
        ("decode", 16, 1024),
        ("mixed", 200, 16, 1024),
    ]


def test_what_no_kernel_is_comes_on_top():
    found = Kernels(Tables(), USUAL).seconds(DECODES)
    assert found.overhead == pytest.approx(USUAL.step_seconds + 16 * USUAL.sequence_seconds)
    assert found.total == pytest.approx(0.020 + found.overhead)
    told = USUAL.seconds(DECODES)
    assert found.compute / found.memory == pytest.approx(told.compute / told.memory)


@pytest.mark.parametrize(("mixed", "seconds"), [(40, 0.040), (99, 0.050), (3, 0.030)])
def test_a_mixed_step_lies_between_the_slower_part_and_both_apart(mixed, seconds):
    assert kernel_seconds(MIXED, mixed=mixed) == pytest.approx(seconds)


def test_no_step_undercuts_the_peak():
    least = USUAL.least_seconds(DECODES)
    assert kernel_seconds(DECODES, decode=0.001) == pytest.approx(least)


def test_scored_tokens_need_their_logits():
    scored = Step(prefills=1, prompt_tokens=500, context=500, pairs=500 * 501 / 2, rows=500)
    plain = Step(prefills=1, prompt_tokens=500, context=500, pairs=500 * 501 / 2, rows=1)
    flops = 2 * USUAL.shape.hidden * USUAL.shape.vocab * 499
    more = flops / (USUAL.gpu.flops * USUAL.compute_efficiency * 2)
    assert kernel_seconds(scored) - kernel_seconds(plain) == pytest.approx(more)


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "aiconfigurator_core", None)
    with pytest.raises(MissingExtraError, match=r"--kernels.*atts-harness\[plan\]"):
        kernels(Roofline(gpu_of("h200"), shape_of("Qwen/QwQ-32B"), 4))


def test_the_package_is_near_the_roofline():
    pytest.importorskip("aiconfigurator_core")
    made = kernels(USUAL)
    for step in (DECODES, CHUNKS, MIXED):
        ratio = made.seconds(step).total / USUAL.seconds(step).total
        assert 0.5 < ratio < 2
    import dataclasses

    other = dataclasses.replace(USUAL, gpu=dataclasses.replace(USUAL.gpu, name="mine"))
    with pytest.raises(SettingError, match="no tables for mine"):
        kernels(other)
