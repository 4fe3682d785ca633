"""A stand-in of the Hub's API on this machine: data sets with their real layouts, and refusals.

`HF_ENDPOINT` points the Hub's own client and `datasets` at it. It serves what they ask for: what a
repository holds, and its files.
"""

import hashlib
import http.server
import json
import re
import threading
import urllib.parse
from dataclasses import dataclass, field

COMMIT = "0123456789abcdef0123456789abcdef01234567"
API = re.compile(r"^/api/(datasets|models)/(?P<repo>[^/]+/[^/]+)(?P<rest>/.*)?$")
FILE = re.compile(r"^(/datasets)?/(?P<repo>[^/]+/[^/]+)/resolve/[^/]+/(?P<path>.+)$")


@dataclass
class Repository:
    """A repository of the stand-in.

    Attributes:
        files: content by path.
        status: what every request is answered with, where it is not 200.
        moved: the name under which it is now.
        headers: of refusals.
    """

    files: dict = field(default_factory=dict)
    status: int = 200
    moved: str | None = None
    headers: dict = field(default_factory=dict)


class Hub(http.server.ThreadingHTTPServer):
    """The stand-in; `repositories` by name."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories = {}
        self.asked = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def put(self, name, files):
        """A repository with these files, as bytes by path."""
        self.repositories[name] = Repository(files)

    def refuse(self, name, **how):
        """Answer every request about a repository so."""
        self.repositories[name] = Repository(**how)

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exc):
        self.shutdown()
        self.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self._serve(body=False)

    def do_GET(self):
        self._serve()

    def do_POST(self):
        length = int(self.headers.get("Content-Length") or 0)
        self._serve(form=self.rfile.read(length).decode())

    def log_message(self, *args):
        pass

    def _serve(self, *, body=True, form=""):
        path = urllib.parse.urlsplit(self.path).path
        path = urllib.parse.unquote(path)
        self.server.asked.append((self.command, path, self.headers.get("Authorization")))
        found = API.match(path) or FILE.match(path)
        name = found["repo"] if found else None
        repository = self.server.repositories.get(name)
        if repository is None:
            return self._refuse(401, {"X-Error-Code": "RepoNotFound"}, "Repository not found")
        if repository.moved:
            return self._answer(307, b"", {"Location": path.replace(name, repository.moved)}, body)
        if repository.status != 200:
            return self._refuse(repository.status, repository.headers, "refused")
        if API.match(path):
            return self._api(name, repository, found["rest"] or "", form, body)
        content = repository.files.get(found["path"])
        if content is None:
            return self._refuse(404, {"X-Error-Code": "EntryNotFound"}, "Entry not found")
        headers = {"ETag": f'"{_digest(content)}"', "X-Repo-Commit": COMMIT}
        return self._answer(200, content, headers, body)

    def _api(self, name, repository, rest, form, body):
        entries = [
            {"type": "file", "path": path, "size": len(content), "oid": _digest(content)}
            for path, content in repository.files.items()
        ]
        if rest.startswith("/tree/"):
            below = rest.split("/", 3)[3].strip("/") + "/" if rest.count("/") > 2 else ""
            inside = [e for e in entries if e["path"].startswith(below)]
            if "recursive=true" not in self.path.lower():
                inside = _children(inside, below)
            return self._json(inside, body)
        if rest.startswith("/paths-info/"):
            wanted = urllib.parse.parse_qs(form).get("paths") or []
            if form.startswith("{"):
                wanted = json.loads(form)["paths"]
            return self._json([e for e in entries if e["path"] in wanted], body)
        siblings = [{"rfilename": e["path"]} for e in entries]
        info = {"id": name, "sha": COMMIT, "private": False, "gated": False, "disabled": False}
        return self._json({**info, "tags": [], "siblings": siblings, "downloads": 0}, body)

    def _json(self, value, body):
        self._answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"}, body)

    def _refuse(self, status, headers, message):
        self._answer(status, b"", {"X-Error-Message": message, **headers}, False)

    def _answer(self, status, content, headers, body):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)


def _children(entries, below):
    """What lies directly in a folder."""
    found = {}
    for entry in entries:
        name, deeper, _ = entry["path"].removeprefix(below).partition("/")
        path = below + name
        folder = {"type": "directory", "path": path, "size": 0, "oid": _digest(path.encode())}
        found.setdefault(path, folder if deeper else entry)
    return list(found.values())


def _digest(content):
    return hashlib.sha1(content).hexdigest()
