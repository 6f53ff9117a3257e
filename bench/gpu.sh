#!/usr/bin/env bash
# The vLLM benchmark on a GPU, from a machine that has Python 3.11 or newer and an NVIDIA driver:
#
#     bench/gpu.sh [FOLDER FOR THE RESULTS]
#
# Not run yet: it was written on a machine without a GPU.  What it calls (`python -m bench vllm --gpu`) is
# run by the tests, on a CPU and with a model of the same kind and a smaller size, and so is this
# script with an interpreter that installs nothing.
#
# It makes build/gpu-venv, installs vLLM and this project into it, and measures every Gemma-3 shape whose
# weights fit the GPU: first one of them quickly, then all.  Model, tokenizer and weights (noise) are made
# in place, so nothing is downloaded but packages.  In the environment it looks for
#
#     PYTHON   the interpreter to build on.  What that one has of PyTorch is used, and the newest vLLM from
#              0.26 on that goes with it is installed (for PyTorch 2.11 that is vLLM 0.26).
#     WHEELS   a folder of wheels to install from, for a machine without a network.  On a machine
#              like it that has one, `bench/gpu.sh --wheels FOLDER` fills the folder.
#     VENV     where the environment is made, in the place of build/gpu-venv.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
venv=${VENV:-build/gpu-venv}
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_QUIET=1 HF_HUB_OFFLINE=1

say() {
    echo "bench/gpu.sh $1" >&2
    exit 1
}

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    say "needs Python 3.11 or newer; PYTHON=/path/to/python bench/gpu.sh names one"

# What is needed, and a constraint that keeps the PyTorch that is there.
needed=$(mktemp) kept=$(mktemp)
trap 'rm -f "$needed" "$kept"' EXIT
"$python" - >"$needed" <<'END'
import tomllib
with open("pyproject.toml", "rb") as file:
    project = tomllib.load(file)
needed = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
print(*needed, "editables", "vllm>=0.26", "matplotlib>=3.10", sep="\n")
END
"$python" - >"$kept" <<'END'
from importlib.metadata import PackageNotFoundError, version
try:
    print("torch==" + version("torch").partition("+")[0])
except PackageNotFoundError:
    pass
END

if [ "${1:-}" = --wheels ]; then
    "$python" -m pip download --dest "${2:?a folder for the wheels}" -r "$needed" -c "$kept"
    exit
fi
out=${1:-bench/results/gpu}
if [ -n "${WHEELS:-}" ]; then
    [ -d "$WHEELS" ] || say "finds no folder $WHEELS"
    PIP_FIND_LINKS=$(cd "$WHEELS" && pwd)
    export PIP_NO_INDEX=1 PIP_FIND_LINKS
fi

nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader ||
    say "needs an NVIDIA GPU and its driver: nvidia-smi finds none"

if [ ! -x "$venv/bin/python" ]; then
    "$python" -m venv --system-site-packages "$venv"
    # The interpreter may be of an environment itself, whose packages are not the system's.
    "$python" -c 'import site, sys; print(*site.getsitepackages(), sep="\n")' >"$(
        "$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'
    )/gpu-parent.pth"
fi
"$venv/bin/python" -m pip install -r "$needed" -c "$kept"
"$venv/bin/python" -m pip install --no-deps --no-build-isolation -e .
"$venv/bin/python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' ||
    say "has a PyTorch that finds no GPU: $("$venv/bin/python" -c 'import torch; print(torch.__version__)')"

"$venv/bin/python" -m bench vllm --gpu --quick --out build/gpu-quick
"$venv/bin/python" -m bench vllm --gpu --out "$out"
echo "The figures lie in $out"
