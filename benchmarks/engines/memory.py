"""What the published pairs take of common cards: the table in docs/engines.md.

python -m benchmarks.engines.memory
"""

from __future__ import annotations

from atts_harness.backend import Role
from atts_harness.engines.memory import GIB, shares
from atts_harness.errors import SettingError
from atts_harness.shapes import ModelShape, shape_of

PAIRS = (
    ("R1-1.5B + QwQ-32B", "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", "Qwen/QwQ-32B"),
    ("R1-8B + QwQ-32B", "deepseek-ai/DeepSeek-R1-Distill-Llama-8B", "Qwen/QwQ-32B"),
    ("Qwen2.5-7B + QwQ-32B", "Qwen/Qwen2.5-7B-Instruct", "Qwen/QwQ-32B"),
    ("Llama-3.1-8B + s1.1-32B", "meta-llama/Llama-3.1-8B-Instruct", "simplescaling/s1.1-32B"),
    (
        "R1-1.5B + R1-70B",
        "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B",
        "deepseek-ai/DeepSeek-R1-Distill-Llama-70B",
    ),
)
# GiB that the driver shows of cards of 80 and 141 GB.
CARDS = (("1 x 80", 79.6, 1), ("1 x 141", 139.7, 1), ("2 x 80", 79.6, 2), ("4 x 80", 79.6, 4))
WINDOW = 15_000 + 4096


def table() -> str:
    """Rows of pairs; a cell has vLLM's and SGLang's fractions, draft / target, and the tokens."""
    lines = [
        "| pair | " + " | ".join(name for name, *_ in CARDS) + " |",
        "|---|" + "---|" * len(CARDS),
    ]
    for name, draft, target in PAIRS:
        models: dict[Role, ModelShape] = {"draft": shape_of(draft), "target": shape_of(target)}
        cells = [_cell(models, memory, devices) for _, memory, devices in CARDS]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(models: dict[Role, ModelShape], memory: float, devices: int) -> str:
    try:
        by_role = shares(models, memory * GIB, devices, dict.fromkeys(models, WINDOW))
    except SettingError:
        return "does not fit"
    draft, target = by_role["draft"], by_role["target"]
    return (
        f"{draft.of_device:.3f} / {target.of_device:.3f}; {draft.of_free:.3f} / "
        f"{target.of_free:.3f}; {target.tokens // 1000}k"
    )


if __name__ == "__main__":
    print(table())
