#!/bin/bash
# docs-site.sh [serve]: the documentation site in build/site, with its spelling, its links and its
# notebook checked; `serve` shows it while you write. In an environment of its own on top of the
# project's (framework-env.sh). Needs no network but a package index.
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHON=${PYTHON:-.venv/bin/python} NO_MKDOCS_2_WARNING=1 OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
python=$(bash scripts/framework-env.sh site mkdocs-material==9.8.2 mkdocs==1.6.1 \
  'mkdocstrings[python]==1.0.8' mkdocs-jupyter==0.26.3 codespell==2.4.3)
if [ "${1:-}" = serve ]; then exec "$python" -m mkdocs serve; fi
# What is misspelt often is found; names and German words in tests of answers are none of it.
git ls-files '*.md' '*.py' '*.yml' '*.yaml' '*.toml' '*.sh' '*.ipynb' | grep -v '^tests/.*data/' \
  | xargs "$python" -m codespell_lib --ignore-words scripts/site/words.txt
"$PYTHON" scripts/site/notebook.py --check
"$python" -m mkdocs build --quiet
echo "build/site is built; to read it: python -m http.server -d build/site"
