# depthrf for GPU machines. torch's own wheels bring the CUDA libraries; the host needs the NVIDIA driver and the
# NVIDIA Container Toolkit only.
FROM python:3.12.8-slim-bookworm

# OpenCV and Open3D link these; Triton compiles the launcher of the CUDA kernels with gcc.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        libgl1 libegl1 libx11-6 libglib2.0-0 libgomp1 libusb-1.0-0 gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*

ENV PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    DEPTHRF_WEIGHTS=/weights \
    HOME=/tmp

WORKDIR /opt/depthrf
# The heavy packages in a layer of their own, pinned; editing depthrf does not fetch them again.
RUN pip install \
        "torch==2.15.0" "timm==1.0.31" "numpy==2.4.6" "numba==0.68.1" "opencv-python==5.0.0.93" \
        "pycolmap==4.2.1" "open3d==0.20.0" "pillow==13.0.0" "pillow-heif==1.8.1" \
        "imageio-ffmpeg==0.8.1" "torchmetrics==1.9.0" "matplotlib==3.11.2" "OpenEXR==3.5.3" \
        "typer==0.29.2" "rich==15.0.0" "scipy==1.17.1" "msgspec==0.22.0" "platformdirs==4.14.8" "jinja2==3.1.6" \
        "kornia==0.9.0"
COPY pyproject.toml README.md LICENSE ./
COPY pipelines pipelines
COPY weights weights
COPY depthrf depthrf
RUN pip install --no-deps .

RUN useradd --create-home --uid 1000 depthrf \
    && mkdir -p /weights /data \
    && chown depthrf:depthrf /weights /data \
    && chmod 1777 /weights
USER 1000
VOLUME /weights
WORKDIR /data

ENTRYPOINT ["depthrf"]
CMD ["--help"]
