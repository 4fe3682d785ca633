"""The contract of an evaluation framework: what plans, calibration and reports ask of it.

An evaluation framework (lm-eval) knows tasks, their documents and their graders, and calls a model.
The commands of the core need some of that: `atts compare` asks which tasks there are, how large
they are and which command evaluates one; `atts calibrate` has one run; `atts report` and
`atts regrade` look golds up. A plugin answers by an `EvalFramework`, which it announces with the
hook `atts_frameworks`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from atts_harness.message import Message

__all__ = [
    "CalibrationRun",
    "EvalFramework",
    "Evaluation",
    "EvaluationOutcome",
    "ProbeFigures",
    "Question",
    "TaskSize",
]


@dataclass(frozen=True)
class Evaluation:
    """A strategy on a task.

    Attributes:
        task: as the framework knows it.
        strategy: as `atts plugins` lists it.
        settings: `model_args`, without the strategy.
        limit: the first so many documents; None: all.
        num_fewshot: examples in the prompt; None: the task's own number.
        metadata: for the task; `repeats` is the number of samples a document.
        apply_chat_template: whether prompts are chat messages.
        system_instruction: of every prompt.
        include_path: a folder with further tasks.
    """

    task: str
    strategy: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    limit: int | None = None
    num_fewshot: int | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    apply_chat_template: bool = True
    system_instruction: str | None = None
    include_path: str | None = None


@dataclass(frozen=True)
class TaskSize:
    """How much a task asks for.

    Attributes:
        documents: of the evaluation, before any limit.
        repeats: samples a document.
        generation: the task's generation settings, such as `max_gen_toks`.
    """

    documents: int
    repeats: int = 1
    generation: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Question:
    """One document of a task, as the task asks it.

    Attributes:
        doc: its number, in records and seeds.
        messages: the chat messages, unrendered.
        document: its fields, with its gold (`results.golds.gold_of`).
        generation: the task's generation settings, options of strategies among them.
        wording: digest of how the task words its prompts; None: not known.
    """

    doc: int
    messages: tuple[Message, ...]
    document: Mapping[str, Any]
    generation: Mapping[str, Any] = field(default_factory=dict)
    wording: str | None = None


@dataclass(frozen=True)
class EvaluationOutcome:
    """What an evaluation left behind.

    Attributes:
        results: the framework's results file.
        metric: name of the task's headline figure; None: there is none.
        value: the figure; the mean over tasks where the results are of several.
    """

    results: Path
    metric: str | None = None
    value: float | None = None


@dataclass(frozen=True)
class ProbeFigures:
    """What a short evaluation in this process took.

    Attributes:
        opening: seconds until the models were there.
        statistics: by task the run's statistics, as in the results file.
        ledger: the run's ledger.
    """

    opening: float
    statistics: Mapping[str, Mapping[str, Any]]
    ledger: Mapping[str, Any]


@dataclass(frozen=True)
class CalibrationRun:
    """What to run to get calibration scores.

    Attributes:
        task: as the framework knows it.
        run_dir: where it is recorded, and resumed from.
        model_args: settings of the run to calibrate for.
        split: another split of the task's data set.
        questions: at most so many.
        evaluated: how many of the task's first documents the evaluation takes; None: all.
        evaluation_questions: take these very documents.
        metadata: for the task.
        turns: score the first so many turns; 1 costs no takeovers.
        system_instruction: of every prompt.
        chat_template: whether prompts are chat messages.
        include_path: a folder with further tasks.
        framework: which one has the task, if several are installed.
    """

    task: str
    run_dir: Path
    model_args: dict[str, Any] = field(default_factory=dict)
    split: str | None = None
    questions: int | None = None
    evaluated: int | None = None
    evaluation_questions: bool = False
    metadata: dict[str, Any] = field(default_factory=dict)
    turns: int | None = None
    system_instruction: str | None = None
    chat_template: bool = True
    include_path: Path | None = None
    framework: str | None = None


class EvalFramework(Protocol):
    """An evaluation framework. Import the framework itself inside the methods: it may be slow."""

    @property
    def name(self) -> str:
        """As a plan's `framework` has it."""
        ...

    @property
    def packages(self) -> tuple[str, ...]:
        """Python packages whose versions belong into the record of a run."""
        ...

    def tasks(self, names: Sequence[str], include_path: str | None) -> Collection[str]:
        """Names of the tasks that exist.

        Args:
            names: tasks that are looked for. Once all are found, the others may be left out:
                reading an index of thousands of files takes seconds.
            include_path: a folder with further tasks.
        """
        ...

    def sizes(self, evaluation: Evaluation) -> Sequence[TaskSize]:
        """How large the task is: one entry, or one for each task of a group.

        Raises:
            SettingError: its data is not there.
        """
        ...

    def command(self, evaluation: Evaluation, folder: Path) -> list[str]:
        """Arguments of the `atts` command that runs the evaluation.

        Args:
            evaluation: what to run.
            folder: takes the run directory and everything that the framework writes.
        """
        ...

    def outcome(self, folder: Path) -> EvaluationOutcome | None:
        """What an ended evaluation left in its folder; None: no results.

        Raises:
            RunDirError: results that cannot be read.
        """
        ...

    def probe(self, evaluation: Evaluation, samples: int) -> ProbeFigures:
        """Run a few samples in this process, with nothing written and nothing printed.

        Args:
            evaluation: its `limit` says how many documents.
            samples: for each document, in place of the task's repeats.
        """
        ...

    def calibrate(self, run: CalibrationRun) -> str:
        """Run a task on calibration questions to its end, all of it recorded in the run directory.

        Returns:
            Where the questions are from, in words.

        Raises:
            SettingError: no such task, or no questions are left to calibrate on.
        """
        ...

    def documents(
        self,
        task: str,
        system_instruction: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Sequence[Mapping[str, Any]]:
        """A task's documents in their order, with their golds and the digests of their prompts.

        Raises:
            SettingError: no such task, or its data cannot be loaded.
        """
        ...

    def questions(self, evaluation: Evaluation) -> Sequence[Question]:
        """A task's documents as the task asks them.

        Args:
            evaluation: `task`, `limit`, `num_fewshot`, `metadata`, `system_instruction` and
                `include_path` count.

        Raises:
            SettingError: no such task, or its data cannot be loaded.
        """
        ...
