"""A simulated run asks and gets what the same run asks and gets on a mock engine over HTTP.

Both are held against a trace that is worked out by hand: three turns, of which the second is taken
over, by a file bank of nine scores at rate 0.2.
"""

import asyncio
import contextlib
import importlib

import pytest

from atts_harness.backend import BackendSpec
from atts_harness.conformal.bank import bank_of
from atts_harness.conformal.bankfile import write_bank
from atts_harness.journal.contract import MemoryJournal
from atts_harness.journal.hashing import request_hash
from atts_harness.running.batch import run_groups
from atts_harness.running.observers import Observers
from atts_harness.settings import parse_settings
from atts_harness.shapes import shape_of
from atts_harness.simulation.costs import gpu_of
from atts_harness.simulation.deployment import place
from atts_harness.simulation.jobs import EngineLimits
from atts_harness.simulation.published import published_trace
from atts_harness.simulation.running import groups_of, simulate
from atts_harness.simulation.traces import RunTrace, SampleTrace, TurnTrace
from atts_harness.simulation.words import WordTokenizer
from atts_harness.testing.mock_engine import MockEngine, random_scores, random_text
from atts_harness.testing.mock_server import MockServer

DRAFT, TARGET = "deepseek-ai/DeepSeek-R1-Distill-Llama-8B", "Qwen/QwQ-32B"
PAIR = {"draft": shape_of(DRAFT), "target": shape_of(TARGET)}

TURNS = (
    TurnTrace(draft=100, score=0.25),
    TurnTrace(draft=50, score=0.95, takeover=30),
    TurnTrace(draft=20, score=0.35, draft_ends=True),
)
BY_HAND = [
    # turn, kind, role, context, cached, written or scored
    (0, "draft", "draft", 40, 0, 100),
    (0, "score", "target", 140, 0, 100),
    (1, "draft", "draft", 140, 136, 50),
    (1, "score", "target", 190, 136, 50),
    (1, "takeover", "target", 190, 188, 30),
    (2, "draft", "draft", 220, 188, 20),
    (2, "score", "target", 239, 216, 19),
]
"""Of one sample with a prompt of 40 tokens and cache blocks of four. A draft engine has seen its
own text up to the last token of a turn; a score needs the position before its first token; the end
of the last turn is not text, so it is not scored."""


@pytest.fixture
def bank(tmp_path):
    """Nine scores, 0.1 to 0.9."""
    return write_bank(bank_of((0, 0, n / 10) for n in range(1, 10)), tmp_path / "bank.json")


def settings(bank, strategy="atts", **given):
    fixed = {"backend": "simulated", "draft": DRAFT, "target": TARGET, "metrics_interval": 0}
    if strategy == "atts":
        fixed |= {"bank": str(bank), "coverage": "marginal", "ties": "conservative", "rate": 0.2}
    return parse_settings({"strategy": strategy, **fixed, **given})


def simulated(chosen, trace, repeats):
    calls = []
    made = simulate(
        chosen,
        trace,
        place(PAIR, gpu_of("h100"), {"draft": 1, "target": 2}),
        repeats=repeats,
        limits=EngineLimits(kv_tokens=0, block=4),
        observe=calls.append,
    )
    return made.records, calls


class Told:
    """A mock engine's writer and scorer: what the simulated run got, by the request's digest.

    vLLM is asked for the log-probabilities of the whole prompt, whatever is scored of it, so a
    score is looked up by its ids alone.
    """

    def __init__(self, calls):
        self.replies = {call.request_hash: call.reply for call in calls}
        self.scores = {
            call.request_hash.split(":")[1]: call.reply.logprobs
            for call in calls
            if call.request_hash.startswith("score:")
        }
        self.unknown = []

    def write(self, request, rng):
        reply = self.replies.get(request_hash(request))
        if reply is None:
            self.unknown.append(request)
            return random_text(range(100, 200), eos=0)(request, rng)
        return reply.ids, reply.ending

    def score(self, request, rng):
        logprobs = self.scores.get(request_hash(request).split(":")[1])
        if logprobs is None:
            self.unknown.append(request)
            return random_scores(request, rng)
        before = len(request.ids) - request.start - len(logprobs)
        return (-1.0,) * before + logprobs


def over_http(chosen, trace, repeats, told, dialect, monkeypatch):
    tokenizer = WordTokenizer()
    for module in ("atts_sglang.backend", "atts_vllm.backend"):
        monkeypatch.setattr(f"{module}.open_tokenizer", lambda spec, served: tokenizer)
    kind = importlib.import_module(f"atts_{dialect}.plugin").KIND
    calls = []

    async def main():
        async with contextlib.AsyncExitStack() as stack:
            backends = {}
            for role in chosen.roles:
                engine = MockEngine(writer=told.write, scorer=told.score, tokenizer=tokenizer)
                server = await stack.enter_async_context(MockServer(engine, dialect))
                spec = BackendSpec(dialect, None, kind.options(url=server.url))
                backends[role] = await kind.open(spec)
                stack.push_async_callback(backends[role].aclose)
            told.unknown.clear()  # what the engines were asked when they were opened
            return await run_groups(
                groups_of(chosen, trace, tokenizer, repeats),
                backends,
                chosen.run,
                MemoryJournal(keep=False),
                Observers(call=[calls.append]),
            )

    return asyncio.run(main()), calls


def costs(calls):
    """What each call asked and got, by its key: tokens, not times."""
    return {
        call.key: (
            call.request_hash,
            call.usage.prompt_tokens,
            call.usage.completion_tokens,
            call.usage.scored_tokens,
        )
        for call in calls
    }


def decided(records):
    return [
        (d.sample, d.turn, d.takeover, d.reason, d.p_value, pytest.approx(d.nonconformity))
        for record in records
        for d in record.decisions
    ]


def test_one_sample_is_the_trace_worked_out_by_hand(bank):
    trace = RunTrace("traced", {0: (SampleTrace(0, 0, TURNS),)}, {0: 40}, chunk=500)
    (record,), calls = simulated(settings(bank), trace, 1)
    found = [
        (
            call.key.turn,
            call.key.kind,
            call.key.role,
            call.usage.prompt_tokens,
            call.usage.cached_tokens,
            call.usage.completion_tokens + call.usage.scored_tokens,
        )
        for call in calls
    ]
    assert found == BY_HAND
    assert [(d.takeover, d.p_value) for d in record.decisions] == [
        (False, 0.8),  # seven of nine are above it
        (True, 0.1),
        (False, 0.7),
    ]
    assert record.finish == "answer"


@pytest.mark.parametrize("dialect", ["sglang", "vllm"])
@pytest.mark.parametrize("strategy", ["atts", "synchronous", "random-takeover", "target-only"])
def test_a_run_over_http_has_the_same_calls_tokens_and_decisions(
    bank, strategy, dialect, monkeypatch
):
    chosen = settings(bank, strategy)
    trace = published_trace(questions=3, repeats=4, seed=1)
    records, calls = simulated(chosen, trace, 4)
    told = Told(calls)
    others, asked = over_http(chosen, trace, 4, told, dialect, monkeypatch)
    assert told.unknown == []
    assert costs(asked) == costs(calls)
    assert decided(others) == decided(records)
    assert [r.text for r in others] == [r.text for r in records]
    scored = [call for call in calls if call.usage.scored_tokens]
    assert bool(scored) == (strategy in ("atts", "synchronous"))
