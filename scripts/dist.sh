#!/bin/sh
# dist.sh VENV: sdist and wheel in dist/, checked as an index does, and the wheel installed into a
# fresh environment, where the commands have to work.
set -eu
cd "$(dirname "$0")/.."
venv=$1
python=${PYTHON:-python3}
"$python" -m venv "$venv"
"$venv/bin/pip" install -q build twine
rm -rf dist "$venv-wheel"
"$venv/bin/python" -m build --outdir dist .
"$venv/bin/twine" check --strict dist/*
"$python" -m venv "$venv-wheel"
"$venv-wheel/bin/pip" install -q dist/*.whl
cd "$venv-wheel"
bin/atts --version
bin/atts options atts > options.txt
grep -q "share of scored turns" options.txt
bin/python -c 'import atts_lm_eval.needs as n; assert not n.needs_own_tasks(["--tasks", "atts_chain"])'
echo "dist: built, checked and installed from the wheel"
