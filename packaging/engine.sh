# Sourced by the scripts beside it: ENGINE (docker or buildah) and what differs between the two.

if [ -z "${ENGINE:-}" ]; then
    if docker info >/dev/null 2>&1; then
        ENGINE=docker
    elif command -v buildah >/dev/null; then
        ENGINE=buildah
    else
        echo "Neither a Docker daemon nor buildah is here. Install one of them: apt-get install buildah" >&2
        exit 2
    fi
elif [ "$ENGINE" != docker ] && [ "$ENGINE" != buildah ]; then
    echo "ENGINE=$ENGINE is unknown. Use ENGINE=docker or ENGINE=buildah." >&2
    exit 2
fi

image_size() { # image_size IMAGE: size of its files in MB (10^6 bytes)
    if [ "$ENGINE" = docker ]; then
        echo $(($(docker image inspect --format '{{.Size}}' "$1") / 1000000))
    else
        local container
        container=$(buildah from --pull-never "$1")
        du --summarize --block-size=1 --one-file-system "$(buildah mount "$container")" | awk '{ printf "%d\n", $1 / 1e6 }'
        buildah rm "$container" >/dev/null
    fi
}
