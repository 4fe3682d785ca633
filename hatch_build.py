"""What the page of the package on an index says: a README whose links lead somewhere, and URLs.

The address of the repository is one setting (`[tool.hatch.metadata.hooks.custom]` in
pyproject.toml). While it is empty there are no URLs, and links into the repository are left out.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_IMAGE = re.compile(r"!\[(?P<text>[^\]]*)\]\((?P<path>[^)\s]+)\)")
_LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]*)\]\((?P<path>[^)\s]+)\)")
_ELSEWHERE = ("http://", "https://", "#", "mailto:")


class Links(MetadataHookInterface):
    """Sets `readme` and `urls`, which pyproject.toml calls dynamic."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Put them into a package's metadata."""
        repository = str(self.config.get("repository", "")).rstrip("/")
        branch = str(self.config.get("branch", "main"))
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": absolute(text, repository, branch),
        }
        metadata["urls"] = urls(repository, branch)


def urls(repository: str, branch: str) -> dict[str, str]:
    """The addresses of a project; none while its repository has no address."""
    if not repository:
        return {}
    return {
        "Source": repository,
        "Documentation": f"{repository}/tree/{branch}/docs",
        "Changelog": f"{repository}/blob/{branch}/CHANGELOG.md",
        "Issues": f"{repository}/issues",
    }


def absolute(text: str, repository: str, branch: str) -> str:
    """A README's text with links into the repository made absolute, or left out without one."""

    def image(match: re.Match[str]) -> str:
        if match["path"].startswith(_ELSEWHERE):
            return match[0]
        address = f"{repository}/raw/{branch}/{match['path']}"
        return f"![{match['text']}]({address})" if repository else ""

    def link(match: re.Match[str]) -> str:
        if match["path"].startswith(_ELSEWHERE):
            return match[0]
        address = f"{repository}/blob/{branch}/{match['path']}"
        return f"[{match['text']}]({address})" if repository else match["text"]

    return _LINK.sub(link, _IMAGE.sub(image, text))
