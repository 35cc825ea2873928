#!/usr/bin/env bash
# Pins every package of the images, with hashes, in packaging/requirements-{build,gpu,cpu}.txt.
# Pins that stand are kept as long as pyproject.toml allows them; with --upgrade the newest versions are taken.
#
#   packaging/lock.sh [--upgrade]
#
# Needs uv (pip install uv). TORCH_WHEELS is a page or a folder with the CPU wheel of torch; by default PyTorch's page.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ $# -gt 1 ] || [ "${1:---upgrade}" != --upgrade ]; then
    echo "packaging/lock.sh takes no argument but --upgrade; it got: $*" >&2
    exit 2
fi
if ! command -v uv >/dev/null; then
    echo "There is no uv here. Install it with: pip install uv" >&2
    exit 2
fi

cpu_torch="torch==2.13.0+cpu" # the newest whose CPU wheel the image was tried with

lock() { # lock NAME [ARGUMENT...]: what standard input and pyproject.toml ask for, on Debian 12
    local name=$1
    shift
    uv pip compile --quiet --generate-hashes --no-annotate --python-version 3.11 \
        --python-platform x86_64-manylinux_2_36 --custom-compile-command packaging/lock.sh \
        --output-file "packaging/requirements-$name.txt" "$@"
}

lock build "$@" - <<<$'pip\nhatchling'
lock gpu "$@" pyproject.toml
# For a CPU alone there are a smaller Open3D, and a torch that is not on PyPI. No torchvision on PyPI loads beside it.
lock cpu "$@" --find-links "${TORCH_WHEELS:-https://download.pytorch.org/whl/cpu/torch/}" \
    --no-emit-package open3d --no-emit-package torchvision pyproject.toml - <<<"$cpu_torch"$'\nopen3d-cpu'
