"""A YAML file whose errors say file, line and key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from atts_harness.errors import SettingError, UnknownSettingError
from atts_harness.files import read_file
from atts_harness.settings import convert

T = TypeVar("T")
Place = tuple[str | int, ...]
"""Where in a file: keys and list positions from the top."""


MOST_BYTES = 1 << 20
MOST_NODES = 100_000
MOST_DEPTH = 50


@dataclass(frozen=True)
class Source:
    """A parsed file.

    Attributes:
        name: as people named the file.
        data: its content.
        lines: line of every key and list item, from 1.
    """

    name: str
    data: Any
    lines: Mapping[Place, int]

    def where(self, place: Place) -> str:
        """The file and the line of a place, or of what it lies in."""
        while place and place not in self.lines:
            place = place[:-1]
        return f"{self.name}, line {self.lines.get(place, 1)}"

    def error(self, place: Place, message: str) -> SettingError:
        """An error at a place."""
        return SettingError(f"{self.where(place)}: {message}")

    def struct(self, kind: type[T], place: Place, values: Any, **done: Any) -> T:
        """An instance of a msgspec struct from a mapping of the file.

        Args:
            kind: the struct.
            place: where the mapping stands.
            values: the mapping.
            done: fields that are converted already; their keys are looked at no more.

        Raises:
            UnknownSettingError: a key is no field; names the nearest.
            SettingError: no mapping, a value of another type or range, a missing field.
        """
        fields = {field.name: field for field in msgspec.structs.fields(kind)}  # type: ignore[arg-type]
        if not isinstance(values, dict):
            named = ", ".join(fields)
            raise self.error(place, f"expected a mapping with the keys {named} (got {values!r})")
        found: dict[str, Any] = {}
        for key, value in values.items():
            if key not in fields:
                raise UnknownSettingError(str(key), fields, where=self.where((*place, key)))
            if key in done or value is None:
                continue
            try:
                found[key] = convert(key, value, fields[key].type)
            except SettingError as error:
                raise self.error((*place, key), str(error)) from error
        found |= done
        missing = [name for name, field in fields.items() if field.required and name not in found]
        if missing:
            raise self.error(place, f"`{missing[0]}` is missing")
        return kind(**found)

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


def read_yaml(path: Path, name: str | None = None) -> Source:
    """Read a YAML file.

    Args:
        path: the file.
        name: what errors call it; by default its path.

    Raises:
        SettingError: it cannot be read, is no YAML, says a key twice, or is too large.
    """
    import yaml  # type: ignore[import-untyped]

    shown = name or str(path)
    content = read_file(path, shown, MOST_BYTES)
    lines: dict[Place, int] = {}
    try:
        loader = yaml.SafeLoader(content.decode())
        tree = loader.get_single_node()
        if tree is not None:
            _check_size(tree, shown)
            _note_lines(tree, (), lines, shown)
        data = None if tree is None else loader.construct_document(tree)
    except UnicodeDecodeError as error:
        raise SettingError(f"{shown}: is no UTF-8 text ({error.reason})") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        raise SettingError(f"{shown}{line}: is no YAML: {problem}") from error
    except RecursionError as error:
        raise SettingError(f"{shown}: is nested too deeply") from error
    except (ValueError, OverflowError, TypeError, KeyError) as error:
        # A date that is none, a number of thousands of digits, a key that is a list.
        raise SettingError(f"{shown}: holds a value that is none: {error}") from error
    return Source(shown, data, lines)


def _check_size(tree: Any, shown: str) -> None:
    """Refuse anchors that unfold into more than a plan can be, before anything unfolds them.

    Every node is looked at once; what an alias stands for counts each time that it is used.
    """
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def size(node: Any, depth: int) -> int:
        here = f"{shown}, line {node.start_mark.line + 1}"
        if id(node) in open_nodes:
            raise SettingError(f"{here}: an anchor that holds itself")
        if depth > MOST_DEPTH:
            raise SettingError(f"{here}: is nested deeper than {MOST_DEPTH} levels")
        if id(node) not in sizes:
            open_nodes.add(id(node))
            inner: list[Any] = [] if node.id == "scalar" else node.value
            if node.id == "mapping":
                inner = [part for pair in inner for part in pair]
            sizes[id(node)] = 1 + sum(size(part, depth + 1) for part in inner)
            open_nodes.remove(id(node))
        if sizes[id(node)] > MOST_NODES:
            raise SettingError(
                f"{here}: its anchors unfold into more than {MOST_NODES} values; write it out"
            )
        return sizes[id(node)]

    size(tree, 0)


def _note_lines(node: Any, place: Place, lines: dict[Place, int], shown: str) -> None:
    lines.setdefault(place, node.start_mark.line + 1)
    if node.id == "sequence":
        for number, item in enumerate(node.value):
            _note_lines(item, (*place, number), lines, shown)
    elif node.id == "mapping":
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.id != "scalar":
                raise SettingError(f"{shown}, line {line}: a key must be a word")
            inner = (*place, key.value)
            if inner in lines:
                raise SettingError(
                    f"{shown}, line {line}: {key.value!r} stands here and on line {lines[inner]}; "
                    "keep one"
                )
            lines[inner] = line
            _note_lines(value, inner, lines, shown)
