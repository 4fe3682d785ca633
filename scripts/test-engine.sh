#!/bin/bash
# test-engine.sh ENGINE [pytest arguments]: install a real engine (vllm or sglang) into an
# environment of its own, print its version, and run tests/engines against servers of it.
# PYTHON is the project's own; ATTS_VLLM_PYTHON and ATTS_SGLANG_PYTHON name engines that are there.
set -euo pipefail
cd "$(dirname "$0")/.."
engine=$1
shift
python=${PYTHON:-.venv/bin/python}

case $engine in
  vllm) needed=(vllm) ;;
  sglang) needed=(sglang vllm) ;; # draft and target on different engines
  *) echo "usage: $0 vllm|sglang" >&2; exit 2 ;;
esac

for name in "${needed[@]}"; do
  variable="ATTS_${name^^}_PYTHON"
  if [ -z "${!variable:-}" ]; then
    bash scripts/install-engine-cpu.sh "$name" ".venv-$name"
    export "$variable=$PWD/.venv-$name/bin/python"
  fi
  echo "$name: ${!variable}"
done

# Two servers and a test process share a small machine: one thread each.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
export ATTS_TEST_ENGINE=$engine
exec "$python" -m pytest tests/engines -q -rA --timeout=3600 "$@"
