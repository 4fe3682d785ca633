"""Whether the version of an engine is one that this project was tested with."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from atts_harness import neutral
from atts_harness.errors import SettingError

logger = neutral.logger("atts_harness.engines")

# The version that a build reports if it does not know its own.
NO_VERSION = (0, 0, 0)


@dataclass(frozen=True)
class Versions:
    """Which versions of an engine are known to work, and which are known not to.

    Attributes:
        engine: its name, as people write it.
        tested: versions on which the suites ran, as in a requirement: `>=0.32,<0.33`.
        refused: versions that cannot be used, written likewise, and the reason.
    """

    engine: str
    tested: str
    refused: Mapping[str, str] = field(default_factory=dict)

    def unusable(self, version: str | None) -> str | None:
        """Why a version cannot be used; None if it can, or is unknown."""
        parsed = _parsed(version)
        for specifier, reason in self.refused.items():
            if parsed is not None and SpecifierSet(specifier).contains(parsed, prereleases=True):
                return f"{self.engine} {version} is not supported: {reason}"
        return None

    def untested(self, version: str | None) -> str | None:
        """A warning for a version that was not tested; None if it was, or is unknown."""
        parsed = _parsed(version)
        if parsed is None or SpecifierSet(self.tested).contains(parsed, prereleases=True):
            return None
        return f"{self.engine} {version} was not tested; {self.tested} was"

    def check(self, version: str | None, name: str) -> None:
        """Refuse a version that cannot be used, and warn once of one that was not tested.

        Args:
            version: of the engine; None: unknown.
            name: the setting that names the engine.

        Raises:
            SettingError: the version cannot be used.
        """
        if (reason := self.unusable(version)) is not None:
            raise SettingError(f"{name}: {reason}")
        if (words := self.untested(version)) is not None:
            _warn(words)


@functools.cache
def _warn(words: str) -> None:
    logger.warning("%s; `atts doctor` checks whether it does what is needed", words)


def _parsed(version: str | None) -> Version | None:
    """A version without its build's label (`0.32.0+cpu`); None if it is not a version."""
    try:
        parsed = Version((version or "").partition("+")[0])
    except InvalidVersion:
        return None
    return None if parsed.release == NO_VERSION else parsed
