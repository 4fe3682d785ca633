"""The published pairs on GPUs, as the pages of this folder show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from atts_harness.backend import Role
from atts_harness.presets import preset_settings
from atts_harness.shapes import shape_of
from atts_harness.simulation.costs import CostModel, gpu_of
from atts_harness.simulation.deployment import Deployment, place, roofline

GPUS = ("h100", "a100")


@dataclass(frozen=True)
class Pair:
    """A published pair.

    Attributes:
        preset: its name.
        title: as tables show it.
        devices: GPUs of 80 GB that each model takes.
    """

    preset: str
    title: str
    devices: Mapping[Role, int]

    @property
    def models(self) -> dict[Role, str]:
        """Hub ids by role."""
        told = preset_settings({"preset": self.preset})
        return {"draft": str(told["draft"]), "target": str(told["target"])}

    def placed(self, gpu: str) -> Deployment:
        """The pair on its GPUs."""
        shapes = {role: shape_of(name) for role, name in self.models.items()}
        return place(shapes, gpu_of(gpu), self.devices)

    def costs(self, gpu: str) -> dict[Role, CostModel]:
        """The built-in cost models, by role."""
        return {role: roofline(one) for role, one in self.placed(gpu).placements.items()}


PAIRS = (
    Pair("r1-qwen-1.5b-qwq-32b", "R1-1.5B + QwQ-32B", {"draft": 1, "target": 2}),
    Pair("qwen-7b-qwq-32b", "Qwen2.5-7B + QwQ-32B", {"draft": 1, "target": 2}),
    Pair("r1-llama-8b-qwq-32b", "R1-8B + QwQ-32B", {"draft": 1, "target": 2}),
    Pair("r1-qwen-1.5b-r1-llama-70b", "R1-1.5B + R1-70B", {"draft": 1, "target": 4}),
)
