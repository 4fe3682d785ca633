#!/bin/bash
# install-sglang-cpu.sh [VENV]: SGLang for a machine without a GPU (AVX512), in an environment of
# its own; about 3 minutes and 3.5 GB. VENV defaults to .venv-sglang. Does nothing when it is
# there. PIP_ARGS reaches every `pip install` (an index of CPU wheels, a mirror, a cache).
#
# The published wheel depends on CUDA packages. They are left out, so pip says that requirements
# are missing: that is expected. Two files in sglang-cpu/ stand in for what the import needs.
set -euo pipefail

version=0.5.23
torch=2.13.0
here=$(cd "$(dirname "$0")" && pwd)
venv=${1:-.venv-sglang}
python=${PYTHON:-python3}

if [ "$(cat "$venv/.installed" 2>/dev/null)" = "$version" ]; then
  echo "sglang $version is installed in $venv"
  exit 0
fi

rm -rf "$venv"
"$python" -m venv "$venv"
pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }

# shellcheck disable=SC2086
{
  pip install -q ${PIP_ARGS:-} "torch==$torch"
  pip install -q --no-deps ${PIP_ARGS:-} "sglang==$version" \
    torchvision==0.28.0 soundfile==0.13.1 timm==1.0.25 cffi pycparser
  pip install -q ${PIP_ARGS:-} "torch==$torch" -r "$here/sglang-cpu/requirements.txt"
}

site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
cp -r "$here/sglang-cpu/sgl_kernel" "$site/"
cp "$here/sglang-cpu/atts_sglang_cpu.py" "$site/"
echo 'import atts_sglang_cpu' > "$site/atts_sglang_cpu.pth"

"$venv/bin/python" -c 'import importlib.metadata as m; print("sglang", m.version("sglang"))'
echo "$version" > "$venv/.installed"
