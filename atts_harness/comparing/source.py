"""A YAML file whose errors say file, line and key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from atts_harness.errors import SettingError, UnknownSettingError
from atts_harness.files import load_yaml
from atts_harness.settings import convert

T = TypeVar("T")
Place = tuple[str | int, ...]
"""A place in a file: keys and list positions, from the top."""


@dataclass(frozen=True)
class PlanSource:
    """A parsed file.

    Attributes:
        name: as people named the file.
        data: its content.
        lines: line of every key and list item, from 1.
    """

    name: str
    data: Any
    lines: Mapping[Place, int]

    def position(self, place: Place) -> str:
        """File and line of a place in the plan, or of the mapping that contains it."""
        while place and place not in self.lines:
            place = place[:-1]
        return f"{self.name}, line {self.lines.get(place, 1)}"

    def error(self, place: Place, message: str) -> SettingError:
        """An error at a place."""
        return SettingError(f"{self.position(place)}: {message}")

    def struct(self, kind: type[T], place: Place, values: Any, **converted: Any) -> T:
        """An instance of a msgspec struct from a mapping of the file.

        Args:
            kind: the struct.
            place: where the mapping stands.
            values: the mapping.
            converted: fields that are converted already; their keys in the mapping are ignored.

        Raises:
            UnknownSettingError: a key is not a field; names the nearest.
            SettingError: no mapping, a value of another type or range, a missing field.
        """
        fields = {field.name: field for field in msgspec.structs.fields(kind)}  # type: ignore[arg-type]
        if not isinstance(values, dict):
            named = ", ".join(fields)
            raise self.error(place, f"expected a mapping with the keys {named} (got {values!r})")
        arguments: dict[str, Any] = {}
        for key, value in values.items():
            if key not in fields:
                raise UnknownSettingError(str(key), fields, source=self.position((*place, key)))
            if key in converted or value is None:
                continue
            try:
                arguments[key] = convert(key, value, fields[key].type)
            except SettingError as error:
                raise self.error((*place, key), str(error)) from error
        arguments |= converted
        missing = [
            name for name, field in fields.items() if field.required and name not in arguments
        ]
        if missing:
            raise self.error(place, f"`{missing[0]}` is missing")
        return kind(**arguments)

    def items(self, place: Place, value: Any) -> Iterator[tuple[Place, Any]]:
        """The items of a list with their places; a text counts as a list of one.

        Raises:
            SettingError: no list, or an empty one.
        """
        key = place[-1]
        listed = [value] if isinstance(value, (str, dict)) else value
        if not isinstance(listed, list):
            raise self.error(place, f"{key}: expected a list (got {value!r})")
        if not listed:
            raise self.error(
                place, f"{key}: is empty, so there is nothing to run; name at least one"
            )
        for number, item in enumerate(listed):
            yield ((*place, number) if listed is value else place), item


def read_yaml(path: Path, name: str | None = None) -> PlanSource:
    """Read a YAML file.

    Args:
        path: the file.
        name: what errors call it; by default its path.

    Raises:
        SettingError: it cannot be read, is not YAML, has a key twice, or is too large.
    """
    label = name or str(path)
    lines: dict[Place, int] = {}
    data = load_yaml(path, label, lambda tree: _note_lines(tree, (), lines, label))
    return PlanSource(label, data, lines)


def _note_lines(node: Any, place: Place, lines: dict[Place, int], label: str) -> None:
    lines.setdefault(place, node.start_mark.line + 1)
    if node.id == "sequence":
        for number, item in enumerate(node.value):
            _note_lines(item, (*place, number), lines, label)
    elif node.id == "mapping":
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.id != "scalar":
                raise SettingError(f"{label}, line {line}: a key must be a word")
            inner = (*place, key.value)
            if inner in lines:
                raise SettingError(
                    f"{label}, line {line}: {key.value!r} stands here and on line {lines[inner]}; "
                    "keep one"
                )
            lines[inner] = line
            _note_lines(value, inner, lines, label)
