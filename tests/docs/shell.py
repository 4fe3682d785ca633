"""The commands in the `sh` blocks of the README and the docs, and what is done with each."""

import re
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"\s+#\s.*$")
PROGRAMS = {"lm_eval", "atts", "python", "make", "pip", "git", "vllm-router", "sglang-router"}


@dataclass(frozen=True)
class Command:
    """One command as it stands on a page, continued lines joined, comments left out."""

    page: str
    line: int
    text: str

    def __str__(self):
        return f"{self.page}:{self.line} {' '.join(self.text.split()[:4])}"

    @property
    def entry(self):
        """Its entry in `commands.toml`; None: it runs as it stands."""
        for entry in ENTRIES:
            if self.text.startswith(entry["begins"]) and entry.get("page", self.page) == self.page:
                return entry
        return None


def blocks():
    """(page, line, language, text) of every fenced block."""
    listed = subprocess.run(
        ["git", "ls-files", "README.md", "CONTRIBUTING.md", "docs/*.md", "examples/*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for page in listed.stdout.split():
        text = (ROOT / page).read_text()
        for block in BLOCK.finditer(text):
            line = text.count("\n", 0, block.start()) + 2
            yield page, line, block[1], block[2]


def commands():
    """Every command of every `sh` block."""
    for page, start, language, text in blocks():
        if language != "sh":
            continue
        joined = ""
        first = start
        for number, line in enumerate(text.splitlines(), start):
            first = first if joined else number
            joined += COMMENT.sub("", line) if not line.lstrip().startswith("#") else ""
            if joined.endswith("\\"):
                joined = joined[:-1]
                continue
            if joined.strip():
                yield Command(page, first, re.sub(r"(?<=\s)\s+", "", joined.strip()))
            joined = ""


def begins_like_a_command(text):
    """Whether a block's first line is a command of ours."""
    first = text.strip().partition("\n")[0].removeprefix("$ ")
    word = first.partition(" ")[0]
    return word in PROGRAMS and not first.startswith(f"{word}: ")


ENTRIES = tomllib.loads((Path(__file__).parent / "commands.toml").read_text())["command"]
