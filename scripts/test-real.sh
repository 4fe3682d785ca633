#!/bin/bash
# test-real.sh [pytest arguments]: tests/real on a language model that a package index has, in this
# process and behind both engines (see with-engines.sh). PYTHON is the project's own.
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHON=${PYTHON:-.venv/bin/python}
bash scripts/real-model.sh build/real-model
export ATTS_REAL_MODEL=$PWD/build/real-model
# Two files side by side, each on one core.
exec bash scripts/with-engines.sh vllm,sglang \
  "$PYTHON" -m pytest tests/real -q -rA --timeout=3600 -n 2 --dist loadfile "$@"
