r"""A published run goes through a live one: scheduler, journal, strategy, scores, decisions.

The scripted draft names each turn (`[question.repeat.turn]`), the scripted target scores it as the
trace did. Which sample asks is known by the request's seed.
"""

import asyncio
import re

import pytest
from published_traces import BANK, needs_traces, samples, scored_turns

from atts_harness.atts import ATTS, ATTSOptions
from atts_harness.conformal.pvalues import recorded_percentile
from atts_harness.journal.contract import MemoryJournal
from atts_harness.records import SampleId
from atts_harness.running.batch import run_groups
from atts_harness.running.seeds import call_seed
from atts_harness.settings import RunOptions
from atts_harness.strategy import Group, Problem, RunInfo, Sample
from atts_harness.testing.scripted import Says, ScriptedBackend
from atts_harness.transcript import Message, Prompt

TASK, SEED, DONE = "math", 3, "(done)"
LABEL = re.compile(r"\[(\d+)\.(\d+)\.(\d+)\]")


def published_turns():
    return {
        SampleId(TASK, sample["question_index"], sample["repeat"]): sample["turns"]
        for sample in samples()
    }


class Script:
    """Answers as the trace has it."""

    def __init__(self, turns):
        self.turns = turns
        self.by_seed = {
            call_seed(SEED, id_, role, kind, turn["turn"]): (id_, turn)
            for id_, known in turns.items()
            for turn in known
            for role, kind in (("draft", "draft"), ("target", "takeover"))
        }
        assert len(self.by_seed) == 2 * sum(map(len, turns.values())), "a seed stands for two calls"

    def draft(self, asked):
        id_, turn = self.by_seed[asked.request.seed]
        if not turn["draft"]:
            return Says("", ending="eos")
        last = turn is self.turns[id_][-1] and "target" not in turn
        return Says(f"[{id_.doc}.{id_.repeat}.{turn['turn']}]" + DONE * last, ending="length")

    def takeover(self, asked):
        id_, turn = self.by_seed[asked.request.seed]
        assert "target" in turn, f"the published run did not take over {id_} turn {turn['turn']}"
        last = turn is self.turns[id_][-1]
        return Says("+" + DONE * last, ending="length")

    def score(self, asked):
        doc, repeat, turn = map(int, LABEL.findall(asked.text)[-1])
        return self.scores[SampleId(TASK, doc, repeat), turn]

    @property
    def scores(self):
        if not hasattr(self, "_scores"):
            self._scores = {
                (SampleId(TASK, row.question, row.repeat), row.turn): row.score
                for row in scored_turns()
            }
        return self._scores


@needs_traces
def test_all_published_decisions_come_out_of_a_live_run():
    turns = published_turns()
    script = Script(turns)
    options = ATTSOptions(
        bank=str(BANK),
        rule="reference",
        coverage="marginal",
        rate=0.4,
        on_empty="end",
        paper_join=True,
        turns=15,
    )
    provenance = {"task": TASK, "draft_tokens": 500, "draft_temperature": 0.8}
    strategy = ATTS(options, RunInfo(seed=SEED, provenance=provenance))
    groups = []
    for doc in sorted({id_.doc for id_ in turns}):
        problem = Problem(
            task=TASK,
            doc=doc,
            prompt=Prompt((Message("user", f"Question {doc}"),)),
            answered=lambda text: text.endswith(DONE),
        )
        repeats = sorted(id_ for id_ in turns if id_.doc == doc)
        groups.append(Group(problem, tuple(Sample(id_, problem) for id_ in repeats), strategy))
    backends = {
        "draft": ScriptedBackend(script.draft, role="draft"),
        "target": ScriptedBackend(script.takeover, script.score, role="target"),
    }
    journal = MemoryJournal()
    records = asyncio.run(run_groups(groups, backends, RunOptions(seed=SEED), journal))

    decisions = {(d.sample, d.turn): d for record in records for d in record.decisions}
    assert len(records) == 1600
    assert not [record.failed for record in records if record.failed]
    assert len(decisions) == len(scored_turns()) == 6065
    for row in scored_turns():
        found = decisions[SampleId(TASK, row.question, row.repeat), row.turn]
        assert found.reason == "p-value"
        assert found.nonconformity == pytest.approx(row.score, rel=1e-14)
        assert recorded_percentile(found.p_value, found.bank_size) == row.percentile
        assert found.takeover == row.takeover
    # Asynchronous as the run is, every sample took the published turns and no other.
    assert {r.id: r.turns for r in records} == {id_: len(known) for id_, known in turns.items()}
    assert sum(1 for d in journal.decisions()) == 6065
