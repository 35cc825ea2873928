#!/usr/bin/env bash
# Builds the image depthrf:cpu or depthrf:gpu with docker or buildah, and says how large it is and how long it took.
#
#   packaging/build_image.sh cpu|gpu
#
# ENGINE=docker|buildah chooses between the two; by default docker where its daemon answers.
# BASE is the image to start from (debian:bookworm-slim), or one made from it that holds your company's certificates.
# TORCH_WHEELS is a folder with the CPU wheel of torch for `cpu`; by default it comes from PyTorch's page.
set -euo pipefail
cd "$(dirname "$0")/.."
source packaging/engine.sh

target=${1:-}
if [ $# -ne 1 ] || { [ "$target" != cpu ] && [ "$target" != gpu ]; }; then
    echo "packaging/build_image.sh takes one argument, cpu or gpu; it got: $*" >&2
    exit 2
fi

arguments=(--build-arg "BASE=${BASE:-debian:bookworm-slim}" --target "$target" --tag "depthrf:$target")
if [ -n "${TORCH_WHEELS:-}" ]; then
    arguments+=(--build-context "wheels=$TORCH_WHEELS" --build-arg TORCH_WHEELS=/wheels)
fi

begun=$(date +%s)
case $ENGINE in
docker) docker build "${arguments[@]}" . ;;
buildah) buildah build --isolation chroot --format docker --layers "${arguments[@]}" . ;; # OCI's format has no HEALTHCHECK
esac
echo "depthrf:$target: $(image_size "depthrf:$target") MB, built in $(($(date +%s) - begun)) s with $ENGINE"
