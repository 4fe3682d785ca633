#!/bin/sh
# install.sh VENV: the development environment, on a machine with nothing but Python 3.11+.
# TORCH names the torch requirement; the default is a CPU build where an index offers one.
set -e
venv=$1
"${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/pip" install -q --upgrade pip
"$venv/bin/python" -c 'import torch' 2>/dev/null || "$venv/bin/pip" install -q "${TORCH:-torch==2.13.0}"
"$venv/bin/pip" install -q -e '.[transformers,report,judge,dev]'
