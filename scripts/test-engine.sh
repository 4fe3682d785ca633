#!/bin/bash
# test-engine.sh vllm|sglang [pytest arguments]: tests/engines against real servers of an engine, in
# an environment of its own (see with-engines.sh). PYTHON is the project's own.
set -euo pipefail
cd "$(dirname "$0")/.."
engine=$1
shift

case $engine in
  vllm) needed=vllm ;;
  sglang) needed=sglang,vllm ;; # draft and target on different engines
  *) echo "usage: $0 vllm|sglang" >&2; exit 2 ;;
esac

export ATTS_TEST_ENGINE=$engine
exec bash scripts/with-engines.sh "$needed" \
  "${PYTHON:-.venv/bin/python}" -m pytest tests/engines -q -rA --timeout=3600 "$@"
