# depthrf as an image: target `gpu` (torch with CUDA; the host needs the NVIDIA driver and the NVIDIA Container Toolkit)
# and target `cpu` (smaller). packaging/build_image.sh builds both, packaging/README.md says more.
ARG BASE=debian:bookworm-slim

# A folder with wheels that TORCH_WHEELS names, if one is given by --build-context wheels=FOLDER.
FROM scratch AS wheels

# What both images run on. OpenCV and Open3D link these libraries. tini passes signals on and reaps what workers leave.
FROM ${BASE} AS runtime
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        python3 ca-certificates tini libgl1 libegl1 libx11-6 libglib2.0-0 libgomp1 libusb-1.0-0 \
    && apt-get clean && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 depthrf \
    && mkdir /weights /data \
    && chown depthrf:depthrf /weights /data \
    && chmod 1777 /weights
ENV PATH=/opt/depthrf/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DEPTHRF_WEIGHTS=/weights \
    HOME=/tmp
VOLUME /weights
WORKDIR /data
HEALTHCHECK --interval=10m --timeout=3m --start-period=3m CMD ["depthrf", "doctor"]
ENTRYPOINT ["tini", "-s", "--", "depthrf"]
CMD ["--help"]

FROM runtime AS build
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends python3-venv
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PIP_NO_DEPS=1 \
    PIP_REQUIRE_HASHES=1
WORKDIR /src
COPY packaging/requirements-build.txt packaging/
RUN --mount=type=cache,target=/tmp/.cache/pip \
    python3 -m venv /opt/tools \
    && /opt/tools/bin/pip install -r packaging/requirements-build.txt \
    && python3 -m venv --without-pip /opt/depthrf

# The packages in a layer of their own, which stays when depthrf is edited.
FROM build AS packages-cpu
COPY packaging/requirements-cpu.txt packaging/
ARG TORCH_WHEELS=https://download.pytorch.org/whl/cpu/torch/
RUN --mount=type=cache,target=/tmp/.cache/pip --mount=type=bind,from=wheels,target=/wheels \
    /opt/tools/bin/pip --python /opt/depthrf install --only-binary :all: --find-links "$TORCH_WHEELS" \
        -r packaging/requirements-cpu.txt

FROM build AS packages-gpu
COPY packaging/requirements-gpu.txt packaging/
RUN --mount=type=cache,target=/tmp/.cache/pip \
    /opt/tools/bin/pip --python /opt/depthrf install --only-binary :all: -r packaging/requirements-gpu.txt

FROM build AS wheel
COPY pyproject.toml README.md LICENSE ./
COPY pipelines pipelines
COPY weights weights
COPY depthrf depthrf
RUN PIP_REQUIRE_HASHES=0 /opt/tools/bin/pip wheel --no-build-isolation --wheel-dir /dist .

FROM runtime AS cpu
COPY --from=packages-cpu /opt/depthrf /opt/depthrf
RUN --mount=type=bind,from=build,source=/opt/tools,target=/opt/tools --mount=type=bind,from=wheel,source=/dist,target=/dist \
    /opt/tools/bin/pip --python /opt/depthrf install --no-cache-dir --no-deps /dist/depthrf-*.whl
USER 1000

FROM runtime AS gpu
# Triton compiles the launcher of each CUDA kernel with gcc and Python.h.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev libpython3-dev \
    && apt-get clean && rm -rf /var/lib/apt/lists/*
COPY --from=packages-gpu /opt/depthrf /opt/depthrf
RUN --mount=type=bind,from=build,source=/opt/tools,target=/opt/tools --mount=type=bind,from=wheel,source=/dist,target=/dist \
    /opt/tools/bin/pip --python /opt/depthrf install --no-cache-dir --no-deps /dist/depthrf-*.whl
USER 1000
