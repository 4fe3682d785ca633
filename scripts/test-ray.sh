#!/bin/bash
# test-ray.sh [PYTEST ARGUMENTS]: comparisons on a real Ray cluster of several nodes on this machine,
# in an environment of its own (.venv-ray, or the one of ATTS_RAY_PYTHON). A skipped case fails it.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${ATTS_RAY_PYTHON:-}
if [ -z "$python" ]; then
  python=.venv-ray/bin/python
  if [ ! -f .venv-ray/.installed ] || [ pyproject.toml -nt .venv-ray/.installed ]; then
    "${PYTHON:-python3}" -m venv .venv-ray
    .venv-ray/bin/pip install -q --upgrade pip
    "$python" -c 'import torch' 2>/dev/null || .venv-ray/bin/pip install -q "${TORCH:-torch==2.13.0}"
    .venv-ray/bin/pip install -q -e '.[transformers,report,judge,ray]' pytest pytest-timeout hypothesis hatchling editables
    .venv-ray/bin/pip install -q --no-deps --no-build-isolation -e tests/cluster/cells
    touch .venv-ray/.installed
  fi
fi
# Without arguments what fits into minutes; --all: the slow cases, too.
if [ "$#" -eq 0 ]; then set -- -m "not slow"; elif [ "$1" = --all ]; then shift; fi
said=$(mktemp)
trap 'rm -f "$said"' EXIT
OMP_NUM_THREADS=1 "$python" -m pytest -rs --timeout 1500 tests/cluster "$@" | tee "$said"
! grep -q "skipped" "$said"
