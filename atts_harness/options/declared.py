"""Describes the settings of a struct: name, type, default, meaning and the class that declares it.

All of it is read from the struct itself: types and bounds from the annotations, defaults from the
fields, the meaning from `msgspec.Meta(description=...)` or from the `Attributes:` section of the
declaring class's docstring. So a setting of a third party's plugin is described like one of ours.
"""

from __future__ import annotations

import importlib.metadata
import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

_ITEM = re.compile(r"^(?P<name>\w+):\s*(?P<text>.*)$")
_NAMES = {bool: "true/false", int: "int", float: "float", str: "text", dict: "JSON object"}
_BOUNDS = (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<"))


@dataclass(frozen=True)
class Declared:
    """One setting.

    Attributes:
        name: as in `model_args`.
        kind: its type and bounds, in words.
        default: as it would be written in `model_args`; None where a value has to be given.
        meaning: what it does; empty if its author does not say.
        owner: the class that declares it.
        package: the installed package of that class.
    """

    name: str
    kind: str
    default: str | None
    meaning: str
    owner: type
    package: str


def settings_of(struct: type[msgspec.Struct]) -> list[Declared]:
    """Every setting of a struct, in the order of its fields."""
    hints = get_type_hints(struct, include_extras=True)
    return [
        Declared(
            name=field.encode_name,
            kind=kind_in_words(hints[field.name]),
            default=_default(field),
            meaning=_meaning(struct, field.name, hints[field.name]),
            owner=(owner := _owner(struct, field.name)),
            package=_package(owner),
        )
        for field in msgspec.structs.fields(struct)
    ]


def kind_in_words(hint: Any) -> str:
    """A type as people write it: `int >= 1`, `chat | raw`, `text or none`."""
    return _words(hint, ())


def _words(hint: Any, bounds: tuple[msgspec.Meta, ...]) -> str:
    if get_origin(hint) is Annotated:
        kind, *metas = get_args(hint)
        return _words(kind, (*bounds, *(m for m in metas if isinstance(m, msgspec.Meta))))
    if get_origin(hint) in (Union, UnionType):
        parts = [part for part in get_args(hint) if part is not NoneType]
        words = " or ".join(dict.fromkeys(_words(part, bounds) for part in parts))
        return f"{words} or none" if NoneType in get_args(hint) else words
    if get_origin(hint) is Literal:
        return " | ".join(map(str, get_args(hint)))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return " | ".join(str(member.value) for member in hint)
    origin = get_origin(hint) or hint
    name = str(_NAMES.get(origin) or getattr(origin, "__name__", origin))
    limits = [
        f"{sign} {value:g}"
        for meta in bounds
        for attribute, sign in _BOUNDS
        if (value := getattr(meta, attribute)) is not None
    ]
    return " ".join([name, ", ".join(limits)]) if limits else name


def _default(field: msgspec.structs.FieldInfo) -> str | None:
    value = field.default
    if field.default_factory is not msgspec.NODEFAULT:
        value = field.default_factory()
    if value is msgspec.NODEFAULT:
        return None
    if value is None:
        return "none"
    if isinstance(value, Enum):
        value = value.value
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _owner(struct: type, name: str) -> type:
    """The class nearest to a struct that declares a field."""
    for kind in struct.__mro__:
        if name in inspect.get_annotations(kind):
            return kind
    return struct


def _meaning(struct: type, name: str, hint: Any) -> str:
    described = next((m.description for m in _metas(hint) if m.description), None)
    if described:
        return described
    classes = [kind for kind in struct.__mro__ if name in inspect.get_annotations(kind)]
    return next((text for kind in classes if (text := _documented(kind).get(name))), "")


def _metas(hint: Any) -> Iterator[msgspec.Meta]:
    """Every `Meta` of a type, also those of the members of a union."""
    for part in get_args(hint):
        if isinstance(part, msgspec.Meta):
            yield part
        else:
            yield from _metas(part)


@cache
def _documented(kind: type) -> Mapping[str, str]:
    """Texts of the `Attributes:` section in a class's own docstring, by attribute."""
    texts: dict[str, list[str]] = {}
    docstring = inspect.cleandoc(kind.__dict__.get("__doc__") or "")
    indent, name, inside = 0, "", False
    for line in docstring.splitlines():
        depth = len(line) - len(line.lstrip())
        if line.strip() and not depth:
            inside, indent = line.strip() == "Attributes:", 0
            continue
        if not inside or not line.strip():
            continue
        indent = indent or depth
        item = _ITEM.match(line.strip()) if depth == indent else None
        if item:
            name = item["name"]
            texts[name] = [item["text"]]
        elif name:
            texts[name].append(line.strip())
    return {name: " ".join(lines).strip().removesuffix(".") for name, lines in texts.items()}


@cache
def _package(kind: type) -> str:
    """The installed package that a class comes from, or else its top module."""
    top = kind.__module__.partition(".")[0]
    return _distributions().get(top, top)


@cache
def _distributions() -> Mapping[str, str]:
    """Packages by their importable name, from entry points: editable installs have these too."""
    return {
        entry.value.partition(":")[0].partition(".")[0]: entry.dist.name
        for entry in importlib.metadata.entry_points(group="atts_harness")
        if entry.dist is not None
    }
