#!/bin/bash
# test-frameworks.sh [FRAMEWORK...] [-- pytest arguments]: real evaluation frameworks, each in an
# environment of its own (framework-env.sh), on the embedded pair. PYTHON is the project's own.
# Without a network but a package index: models and data are the project's.
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHON=${PYTHON:-.venv/bin/python}
frameworks=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do frameworks+=("$1"); shift; done
[ "${1:-}" != -- ] || shift
[ ${#frameworks[@]} -gt 0 ] || frameworks=(inspect openai lm-eval sgl-eval evalscope lighteval)
tests=()
for name in "${frameworks[@]}"; do
  started=$SECONDS
  case $name in
    inspect) python=$(bash scripts/framework-env.sh inspect inspect-ai==0.3.285); file=inspect_ai ;;
    openai) python=$(bash scripts/framework-env.sh openai openai==3.57.0); file=openai_sdk ;;
    # The project's own environment has lm-eval with its API models.
    lm-eval) python=$(bash scripts/framework-env.sh lm-eval 'lm-eval[api]'); file=lm_eval_api ;;
    sgl-eval) python=$(bash scripts/framework-env.sh sgl-eval sgl-eval==0.1.3); file=sgl_eval ;;
    evalscope) python=$(bash scripts/framework-env.sh evalscope evalscope==1.14.1); file=evalscope ;;
    lighteval)
      # lighteval 0.13.0 calls huggingface_hub as before 1.0, and hands inspect_ai settings that its
      # later releases refuse.
      python=$(bash scripts/framework-env.sh lighteval lighteval==0.13.0 inspect-ai==0.3.160 \
        'huggingface_hub<1' 'transformers<5' 'datasets<4.5')
      file=lighteval
      # A file of weights that lighteval downloads when it is imported; no task here reads it.
      touch "$("$python" -c 'import importlib.util as u; print(u.find_spec("lighteval").submodule_search_locations[0])')/tasks/tasks/tinyBenchmarks.pkl"
      ;;
    *) echo "test-frameworks.sh: no framework $name" >&2; exit 2 ;;
  esac
  echo "$name: environment ready after $((SECONDS - started)) s"
  tests+=("tests/frameworks/test_$file.py")
done
export ATTS_FRAMEWORKS
ATTS_FRAMEWORKS=$(IFS=,; echo "${frameworks[*]}")
OMP_NUM_THREADS=1 "$PYTHON" -m pytest "${tests[@]}" -q -rs --timeout=1800 --durations=0 "$@"
