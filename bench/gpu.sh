#!/usr/bin/env bash
# The vLLM benchmark on a GPU, from a machine that has Python 3.11 or newer and an NVIDIA driver:
#
#     bench/gpu.sh [FOLDER FOR THE RESULTS]
#
# Not run yet: it was written on a machine without a GPU.  What it calls (`python -m bench vllm`) is run
# on a CPU by the tests, with a model of the same kind and a smaller size.
#
# It makes build/gpu-venv (PYTHON names another interpreter; what that one has of PyTorch is used), installs
# vLLM and this project, and measures every Gemma-3 shape whose weights fit the GPU.  The weights are noise
# made in place, so nothing is downloaded but packages.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
out=${1:-bench/results/gpu}
venv=build/gpu-venv

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "bench/gpu.sh needs Python 3.11 or newer; PYTHON=/path/to/python bench/gpu.sh names one" >&2
    exit 1
fi
if ! nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader; then
    echo "bench/gpu.sh needs an NVIDIA GPU and its driver: nvidia-smi finds none" >&2
    exit 1
fi

[ -x "$venv/bin/python" ] || "$python" -m venv --system-site-packages "$venv"
export PIP_DISABLE_PIP_VERSION_CHECK=1
"$venv/bin/python" -m pip install --quiet --upgrade pip
"$venv/bin/python" -m pip install --quiet -e '.[vllm]' 'matplotlib>=3.10'

"$venv/bin/python" -m bench vllm --gpu --quick --out build/gpu-quick
"$venv/bin/python" -m bench vllm --gpu --out "$out"
echo "The figures lie in $out"
