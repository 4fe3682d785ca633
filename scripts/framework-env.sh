#!/bin/bash
# framework-env.sh NAME REQUIREMENT...: an environment of an evaluation framework's own, below
# .venv-frameworks, on top of the project's: what that has already (torch, transformers, the harness)
# is used from there, and nothing in it is changed. Prints the environment's python.
set -euo pipefail
cd "$(dirname "$0")/.."
name=$1; shift
place=$PWD/.venv-frameworks/$name
project=$("${PYTHON:-.venv/bin/python}" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
wanted="$* $(sed -n '/^dependencies/,/^]/p;/^\[project.optional/,/^$/p' pyproject.toml | cksum)"
if [ "$(cat "$place/.wanted" 2>/dev/null)" != "$wanted" ]; then
  rm -rf "$place"
  "${PYTHON:-.venv/bin/python}" -m venv --without-pip "$place" >&2
  own=$("$place/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  # A line that begins with `import` runs: the project's own start-up files count, too.
  echo "import site; site.addsitedir('$project')" > "$own/project.pth"
  "${PYTHON:-.venv/bin/python}" -m pip --python "$place/bin/python" install -q "$@" >&2
  printf %s "$wanted" > "$place/.wanted"
fi
echo "$place/bin/python"
