"""What mkdocs does not do by itself, for the documentation's site.

Pages outside `docs/`: the README is the site's first page, and some files of the root are pages.
Links: one to a file that is not a page leads to its address if `repo_url` is set in mkdocs.yml;
without one the link becomes its text, so that the site has no dead links. Settings: their page is
what `atts options` lists.
"""

from __future__ import annotations

import json
import posixpath
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "SECURITY.md": "SECURITY.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "plugins/atts_tiny/MODEL_CARD.md": "model-card.md",
}
"""By path in the repository the page it becomes."""

LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
BLOCK = re.compile(r"(^(?:```|~~~).*?^(?:```|~~~))", re.MULTILINE | re.DOTALL)


SETTINGS = "@settings@"
"""Stands where the settings go."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from outside `docs/`."""
    for source, page in PAGES.items():
        text = (ROOT / source).read_text()
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: MkDocsConfig, files: Files) -> str:
    """Point each link to where its file is on the site."""
    markdown = markdown.replace(SETTINGS, settings()) if SETTINGS in markdown else markdown
    sources = {built: source for source, built in PAGES.items()}
    at = sources.get(page.file.src_uri, f"docs/{page.file.src_uri}")

    def moved(link: re.Match[str]) -> str:
        image, text, address = link.groups()
        if re.match(r"[a-z]+:|#|/", address):
            return link[0]
        path, _, anchor = address.partition("#")
        target = posixpath.normpath(posixpath.join(posixpath.dirname(at), path))
        built = PAGES.get(target) or _below_docs(target)
        file = files.get_file_from_path(built) if built is not None else None
        if built is not None and file is not None and file.inclusion.is_included():
            here = posixpath.dirname(page.file.src_uri) or "."
            address = posixpath.relpath(built, here) + (f"#{anchor}" if anchor else "")
            return f"{image}[{text}]({address})"
        if not (ROOT / target).exists():
            return link[0]  # mkdocs says that it leads nowhere
        if config.repo_url:
            return f"{image}[{text}]({config.repo_url.rstrip('/')}/blob/main/{target})"
        return text

    # Blocks of code are left as they stand.
    parts = BLOCK.split(markdown)
    return "".join(part if n % 2 else LINK.sub(moved, part) for n, part in enumerate(parts))


def _below_docs(path: str) -> str | None:
    return path.removeprefix("docs/") if path.startswith("docs/") else None


def settings() -> str:
    """Every setting, by the class that declares it, as Markdown."""
    command = [sys.executable, "-m", "atts_harness", "options", "--json"]
    process = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    users: dict[str, dict[str, None]] = {}
    rows: dict[str, dict[str, str]] = {}
    for one in json.loads(process.stdout):
        declared = one["declared_by"]
        users.setdefault(declared, {})[one["of"]] = None
        cells = [one[key] for key in ("name", "type", "default", "meaning")]
        rows.setdefault(declared, {})[f"{one['name']} {one['default']}"] = _row(cells)
    parts = []
    for declared, names in users.items():
        head = ", ".join(f"`{name}`" for name in names)
        table = ["| setting | type | default | meaning |", "|---|---|---|---|"]
        table += rows[declared].values()
        parts.append("\n".join([f"## {head}", "", f"Declared by `{declared}`.", "", *table]))
    return "\n\n".join(parts)


def _row(cells: list[str | None]) -> str:
    name, kind, default, meaning = (escape(cell or "") for cell in cells)
    return f"| `{name}` | {kind} | {f'`{default}`' if default else ''} | {meaning} |"


def escape(text: str) -> str:
    """A text for a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
