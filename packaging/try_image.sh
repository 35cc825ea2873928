#!/usr/bin/env bash
# Tries the image that build_image.sh made, without a network and as an ordinary user: help, doctor, a small demo, photos
# that are mounted read-only, and a stop in the middle of the training. Takes a quarter of an hour on two busy cores.
#
#   packaging/try_image.sh cpu|gpu
set -euo pipefail
cd "$(dirname "$0")/.."
source packaging/engine.sh

target=${1:-}
if [ $# -ne 1 ] || { [ "$target" != cpu ] && [ "$target" != gpu ]; }; then
    echo "packaging/try_image.sh takes one argument, cpu or gpu; it got: $*" >&2
    exit 2
fi
image=depthrf:$target
owner=$(id -u):$(id -g)
[ "$owner" != 0:0 ] || owner=12345:12345 # a user whom the image does not know

data=$(mktemp -d)
chown "$owner" "$data"
clean_up() {
    [ "$ENGINE" = docker ] || buildah rm "$container" >/dev/null
    rm -rf "$data"
}
if [ "$ENGINE" = buildah ]; then
    container=$(buildah from --pull-never "$image")
    # Unlike docker, `buildah run` starts what it is told, without the entrypoint.
    read -ra entrypoint <<<"$(buildah inspect --format '{{range .OCIv1.Config.Entrypoint}}{{.}} {{end}}' "$container")"
fi
trap clean_up EXIT

volumes=(--volume "$data:/data")
in_image() { # in_image ARGUMENT...: replaces this shell by depthrf in the image
    if [ "$ENGINE" = docker ]; then
        local devices=()
        [ "$target" = cpu ] || devices=(--gpus all)
        exec docker run --rm --name "depthrf-try-$$" --network none --user "$owner" "${devices[@]}" "${volumes[@]}" \
            "$image" "$@"
    fi
    exec unshare --net buildah run --isolation chroot --user "$owner" "${volumes[@]}" "$container" -- "${entrypoint[@]}" "$@"
}
timed() { # timed NAME ARGUMENT...: the same, with its seconds; the output is shown if it fails
    local name=$1 begun
    shift
    begun=$(date +%s.%N)
    if ! (in_image "$@") >"$data/log.txt" 2>&1; then
        cat "$data/log.txt" >&2
        echo "$name failed" >&2
        exit 1
    fi
    printf '%-44s %6.1f s\n' "$name" "$(seconds_since "$begun")"
}
seconds_since() { # seconds_since BEGUN: seconds since then
    awk -v now="$(date +%s.%N)" -v begun="$1" 'BEGIN { print now - begun }'
}
fail() {
    cat "$data/log.txt" >&2
    echo "$1" >&2
    exit 1
}

echo "$image, $(image_size "$image") MB, by $ENGINE as $owner without a network"
timed "--help" --help
timed "doctor" doctor
timed "demo --pipeline fast, 100 steps, 1 s of film" demo -o demo --pipeline fast --steps 100 --set render.seconds=1
[ -s "$data/demo/workspace/render/video.mp4" ] || fail "The demo made no video."
[ -z "$(find "$data/demo" ! -user "${owner%:*}" -o ! -group "${owner#*:}")" ] || fail "Files do not belong to $owner."

volumes+=(--volume "$data/demo/photos:/photos:ro")
run=(reconstruct /photos -o room --pipeline fast --max-photos 8 --steps 200)
timed "photos mounted read-only, to the depth" "${run[@]}" --until merge
[ -s "$data/room/records/merge.json" ] || fail "There is no depth."

(in_image "${run[@]}" --until train) >"$data/log.txt" 2>&1 &
running=$!
until [ -s "$data/room/nerf/metrics.jsonl" ]; do # it trains
    kill -0 "$running" 2>/dev/null || fail "The training ended before it was stopped."
    sleep 0.2
done
begun=$(date +%s.%N)
if [ "$ENGINE" = docker ]; then
    docker stop "depthrf-try-$$" >/dev/null
else # buildah passes no signals on
    inside=$running
    until [ "$(cat "/proc/$inside/comm")" = "${entrypoint[0]}" ]; do inside=$(pgrep --parent "$inside" | head -n 1); done
    kill -TERM "$inside"
    while kill -0 "$inside" 2>/dev/null; do sleep 0.1; done
fi
seconds=$(seconds_since "$begun")
code=0
wait "$running" || code=$?
awk -v s="$seconds" 'BEGIN { exit !(s < 10) }' || fail "It took $seconds s to stop."
[ "$code" = 143 ] || fail "Stopped, it exited with $code instead of 143."
grep -q "Run the same command again" "$data/log.txt" || fail "Stopped, it did not say how to go on."
printf '%-44s %6.1f s\n' "SIGTERM in the training, exit code 143" "$seconds"

before=$(stat --format %Y "$data/room/records/sfm.json")
timed "the same command again, to the end" "${run[@]}" --until train
[ "$(stat --format %Y "$data/room/records/sfm.json")" = "$before" ] || fail "It began again from the start."
[ -s "$data/room/records/train.json" ] || fail "There is no trained field."
