"""References to cite: BibTeX entries of methods and data sets, each with its source.

Packages bring them as YAML files by the hook `atts_references`: a list of entries with `key`,
`kind`, `source`, `fields`, and the `strategies` and `tasks` that they are to be cited for. An
entry of a key that another file describes may leave `kind`, `source` and `fields` out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import yaml  # type: ignore[import-untyped]

from atts_harness import plugins
from atts_harness.errors import SettingError

__all__ = ["Citation", "Cited", "bibtex", "read_references", "references_for"]


class Citation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry.

    Attributes:
        key: key by which a text cites it.
        kind: `article`, `inproceedings`, `misc`, ...
        source: the page on which its fields were looked up.
        fields: of BibTeX, such as `title` and `author`; what was not looked up is left out.
        strategies: names of the strategies that it is to be cited for.
        tasks: names of the tasks that it is to be cited for.
        everywhere: whether every report cites it.
    """

    key: str
    kind: str = "misc"
    source: str = ""
    fields: dict[str, str] = {}
    strategies: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    everywhere: bool = False


@dataclass(frozen=True)
class Cited:
    """The references of a report.

    Attributes:
        references: in order of their keys.
        without: strategies and tasks for which no package names a reference.
    """

    references: tuple[Citation, ...]
    without: tuple[str, ...]


def read_references(path: Path) -> list[Citation]:
    """The entries of one file.

    Raises:
        SettingError: it cannot be read, or is not a list of entries; names the file.
    """
    try:
        text = yaml.safe_load(path.read_text(encoding="utf-8"))
        return msgspec.convert(text, list[Citation])
    except (OSError, yaml.YAMLError, msgspec.ValidationError) as error:
        raise SettingError(f"{path}: not a file of references: {error}") from error


def references_for(strategies: Iterable[str], tasks: Iterable[str]) -> Cited:
    """The references for some strategies and tasks, from the files of all installed packages.

    Raises:
        SettingError: a package's file cannot be read.
    """
    entries = [entry for path in plugins.references() for entry in read_references(path)]
    described = {entry.key: entry for entry in entries if entry.fields}
    used: set[str] = {entry.key for entry in entries if entry.everywhere}
    without: list[str] = []
    for names, field_name in ((strategies, "strategies"), (tasks, "tasks")):
        for name in dict.fromkeys(names):
            keys = {entry.key for entry in entries if name in getattr(entry, field_name)}
            used |= keys
            if not keys & described.keys():
                without.append(name)
    references = [described[key] for key in sorted(used & described.keys())]
    return Cited(tuple(references), tuple(without))


def bibtex(citations: Cited) -> str:
    """A `.bib` file: the entries, their sources as comments, and the names without an entry."""
    parts = [_entry(reference) for reference in citations.references]
    if citations.without:
        parts.append(f"% No reference is registered for: {', '.join(citations.without)}.\n")
    return "\n".join(parts)


def _entry(reference: Citation) -> str:
    lines = [f"  {name} = {{{value}}}," for name, value in _fields(reference)]
    return "\n".join(
        [f"% Source: {reference.source}", f"@{reference.kind}{{{reference.key},", *lines, "}\n"]
    )


def _fields(reference: Citation) -> Sequence[tuple[str, str]]:
    return [(name, " ".join(value.split())) for name, value in reference.fields.items()]
