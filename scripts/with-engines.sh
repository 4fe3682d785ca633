#!/bin/bash
# with-engines.sh ENGINE[,ENGINE] COMMAND...: run a command that finds real engines (vllm, sglang).
# Each is installed into an environment of its own, .venv-ENGINE, unless ATTS_VLLM_PYTHON or
# ATTS_SGLANG_PYTHON names one that is there.
set -euo pipefail
cd "$(dirname "$0")/.."
engines=$1
shift

for name in ${engines//,/ }; do
  variable="ATTS_${name^^}_PYTHON"
  if [ -z "${!variable:-}" ]; then
    bash scripts/install-engine-cpu.sh "$name" ".venv-$name"
    export "$variable=$PWD/.venv-$name/bin/python"
  fi
  echo "$name: ${!variable}"
done

# Two servers and a client share a small machine: one thread each.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
exec "$@"
