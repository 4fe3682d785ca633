"""Results of a run or of another program: questions, samples, grades, figures of tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from atts_harness.grading.equivalence import Gold
from atts_harness.grading.grade import Grade, Sampled
from atts_harness.records import RunRecord
from atts_harness.results.statistics import TaskStatistics

MISSING = "missing"
"""The failure of a sample that is not there."""


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """Conditions that must agree before rows are compared. None: not recorded, so not compared.

    Attributes:
        version: the task's version.
        prompt: fingerprint of how the task words its prompts: template, few-shot examples, system.
        template: `chat` where models got messages by their own templates, `raw` where plain text.
        documents: fingerprint of the questions and golds that were run.
        sampling: by role (`draft`, `target`; `model` for a row of another lm-eval model) the
            temperature, top_p, top_k and min_p.
        budget: kept tokens a sample may have.
        until: texts that end a sample.
        extractor: the one whose answer is graded; for a task that grades itself the name of its
            metric.
        models: by role the `ModelIdentity` that answered, as plain data, without where it ran.
    """

    version: str | None = None
    prompt: str | None = None
    template: str | None = None
    documents: str | None = None
    sampling: dict[str, dict[str, float | None]] = {}
    budget: int | None = None
    until: tuple[str, ...] | None = None
    extractor: str | None = None
    models: dict[str, dict[str, Any]] = {}


@dataclass(frozen=True)
class AskedQuestion:
    """A question as it was asked.

    Attributes:
        doc: number that names it in records.
        key: fingerprint of question and gold: equal keys, equal questions.
        prompt: its text, for people; "" if it was not recorded.
        gold: the right answer, as text; "" where there is none to show.
        golds: right answers that the grader can read; an answer that equals any of them is right.
        id: its name in the source, for people; "" if it has only the number.
    """

    doc: int
    key: str
    prompt: str
    gold: str
    golds: tuple[Gold, ...] = ()
    id: str = ""

    @property
    def name(self) -> str:
        """Its id if it has one, else its number."""
        return self.id or str(self.doc)


@dataclass(frozen=True)
class SavedQuestion:
    """One question with what was generated for it.

    Attributes:
        question: as it was asked.
        samples: by repeat.
        grades: by repeat, as the run's own task recorded them; empty where it did not.
        figures: the question's figures by the task's metrics, as recorded.
        original: answers that the source had recorded itself, by repeat.
        expected: repeats that should be there; 0 where the source does not say.
    """

    question: AskedQuestion
    samples: Mapping[int, Sampled]
    grades: Mapping[int, Grade] = field(default_factory=dict)
    figures: Mapping[str, float | None] = field(default_factory=dict)
    original: Mapping[int, str | None] = field(default_factory=dict)
    expected: int = 0

    def missing(self) -> list[int]:
        """Repeats that should be there and are not."""
        return [repeat for repeat in range(self.expected) if repeat not in self.samples]

    def all_samples(self) -> list[Sampled]:
        """Every repeat in order; a missing one is a failed one."""
        count = max(self.expected, max(self.samples, default=-1) + 1)
        empty = Sampled("", failed=MISSING)
        return [self.samples.get(repeat, empty) for repeat in range(count)]


@dataclass(frozen=True)
class SavedTask:
    """The saved samples of one task, read question by question at each iteration.

    Attributes:
        task: its name.
        read: reads them; each question comes once. Raises SettingError where they are damaged.
    """

    task: str
    read: Callable[[], Iterator[SavedQuestion]]

    def __iter__(self) -> Iterator[SavedQuestion]:
        return self.read()


@dataclass(frozen=True)
class TaskResults:
    """One task of a results file.

    Attributes:
        task: its name.
        conditions: those that the file records, without the documents.
        metrics: the task's figures by "metric,filter"; None if unknown.
        problems: questions that were evaluated; 0 where the file does not say.
        repeats: samples of each.
        accuracy: the metric that is the task's accuracy; None where it has none.
        graded_here: whether this project's grader made the figures.
        log: its sample log; None if there is none.
        samples: reads that log.
        statistics: recorded by this project's model; None for other models.
    """

    task: str
    conditions: Conditions
    metrics: Mapping[str, float | None]
    problems: int
    repeats: int
    accuracy: str | None
    graded_here: bool
    log: Path | None = None
    samples: SavedTask | None = None
    statistics: TaskStatistics | None = None
    interval: tuple[float, float] | None = None
    stderr: float | None = None


@dataclass(frozen=True)
class Results:
    """A results file.

    Attributes:
        path: the file.
        model: the program's name for the kind of model (`hf`, `atts`).
        name: name of the model itself; None if the run's roles name it.
        run: run record of this project's model; None for another model's.
        ledger: ledger summary of this project's model; empty for another model's.
        tasks: by name.
        identity: equal for results of one model under equal settings.
    """

    path: Path
    model: str
    name: str | None
    run: RunRecord | None
    ledger: Mapping[str, Any]
    tasks: Mapping[str, TaskResults]
    identity: tuple[str, ...]


@dataclass(frozen=True)
class ResultsFormat:
    """Finds and reads the results of another program; for the hook `atts_read_results`.

    Attributes:
        name: of the program.
        files: results files at or below a folder.
        read: reads one. Raises SettingError if it is none.
        logs: sample logs at or below a folder; of several of one task in one folder the newest.
        is_log: whether a sample log begins with this line.
        samples: reads a sample log. Raises SettingError if it is none.
    """

    name: str
    files: Callable[[Path], Sequence[Path]]
    read: Callable[[Path], Results]
    logs: Callable[[Path], Sequence[Path]]
    is_log: Callable[[Mapping[str, Any]], bool]
    samples: Callable[[Path], SavedTask]
