"""The runs of a plan in simulated time, each made once, with what is known of its costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from atts_harness.backend import Role
from atts_harness.records import CallRecord, SampleRecord
from atts_harness.settings import Settings
from atts_harness.simulation.costfile import EngineCosts
from atts_harness.simulation.costs import CostModel, Roofline
from atts_harness.simulation.deployment import Deployment, Placement, roofline
from atts_harness.simulation.jobs import EngineLimits
from atts_harness.simulation.kernels import kernels
from atts_harness.simulation.progress import SimulationProgress
from atts_harness.simulation.running import Simulated, simulate
from atts_harness.simulation.traces import RunTrace

__all__ = ["RunRequest", "Simulations", "simulated"]


@dataclass(frozen=True)
class RunRequest:
    """Everything that decides a simulated run.

    Attributes:
        settings: strategy and limits.
        trace: what the models write.
        deployment: where they run.
        repeats: samples a question.
        problems: questions.
        measured: costs measured on running engines, by role, in place of the roofline's.
        kernels: whether steps cost what measured kernel tables say.
        overheads: factor of the roofline's overheads; what was measured is as it is.
    """

    settings: Settings
    trace: RunTrace
    deployment: Deployment
    repeats: int
    problems: int
    measured: Mapping[Role, EngineCosts]
    kernels: bool = False
    overheads: float = 1.0


class Simulations:
    """Makes runs, and remembers them: rows of a plan often ask for the same one.

    Args:
        progress: told what is simulated.
    """

    def __init__(self, progress: SimulationProgress | None = None) -> None:
        self.progress = progress or SimulationProgress()
        self._made: list[tuple[RunRequest, Simulated]] = []

    def run(self, request: RunRequest) -> Simulated:
        """The run that was asked for; simulated unless an equal one was.

        Raises:
            SettingError: the strategy's options cannot be.
        """
        for earlier, run in self._made:
            if earlier == request:
                return run
        self.progress.begin_run(request.problems * request.repeats)
        run = simulated(request, ended=self._ended)
        self._made.append((request, run))
        return run

    def _ended(self, record: SampleRecord) -> None:
        self.progress.done += 1


def simulated(
    request: RunRequest,
    observe: Callable[[CallRecord], None] | None = None,
    ended: Callable[[SampleRecord], None] | None = None,
) -> Simulated:
    """A run in simulated time.

    Args:
        request: what decides it.
        observe: told of every call.
        ended: told of every sample as it ends.

    Raises:
        SettingError: the strategy's options cannot be.
    """
    measured = request.measured

    def pricing(placement: Placement) -> CostModel:
        costs = measured.get(placement.role)
        if costs is not None:
            return costs.cost
        usual = _scaled(roofline(placement), request.overheads)
        return kernels(usual) if request.kernels else usual

    return simulate(
        request.settings,
        request.trace,
        request.deployment,
        repeats=request.repeats,
        problems=request.problems,
        limits={role: _limits(measured.get(role)) for role in request.deployment.placements},
        pricing=pricing,
        latency={role: costs.latency for role, costs in measured.items()},
        observe=observe,
        ended=ended,
        keep=False,
    )


def _limits(costs: EngineCosts | None) -> EngineLimits:
    usual = EngineLimits(kv_tokens=0)
    if costs is None:
        return usual
    return replace(usual, scores_read_cache=costs.scores_read_cache, mixed_steps=costs.mixed_steps)


def _scaled(usual: Roofline, factor: float) -> Roofline:
    return replace(
        usual,
        layer_seconds=usual.layer_seconds * factor,
        step_seconds=usual.step_seconds * factor,
        sequence_seconds=usual.sequence_seconds * factor,
        hop_seconds=usual.hop_seconds * factor,
    )
