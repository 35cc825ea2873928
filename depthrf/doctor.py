"""``depthrf doctor``: what this machine has for each stage, and what to do about what it lacks."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_GIB = 2**30
_LEAST_DISK, _LEAST_MEMORY = 2 * _GIB, 4 * _GIB


@dataclass(frozen=True)
class Finding:
    """What was found of one requirement.

    ``fix`` says what to do, and is None if all is well. Nothing runs without what is ``required``.
    """

    what: str
    found: str
    fix: str | None = None
    required: bool = False


def examine(folder: Path) -> list[Finding]:
    """Examines everything that depthrf needs; ``folder`` is where a workspace would be."""
    return [_examined(what, look) for what, look in _CHECKS.items()] + [_disk(folder)]


def _examined(what: str, look: Callable[[], tuple[str, str | None]]) -> Finding:
    """The finding of one check. A check that raises becomes a finding with the error's message."""
    required = what in _REQUIRED
    try:
        found, fix = look()
        return Finding(what, found, fix)
    except Exception as e:  # whatever a broken installation raises is the finding
        reason = str(e).splitlines()[0] if str(e) else type(e).__name__
        return Finding(what, reason, _FIXES.get(what, "pip install --force-reinstall depthrf"), required)


def _python() -> tuple[str, str | None]:
    fix = None if sys.version_info >= (3, 11) else "install Python 3.11 or newer"
    return f"{platform.python_version()} on {platform.system()} {platform.machine()}", fix


def _torch() -> tuple[str, str | None]:
    import torch

    return f"{torch.__version__}, {torch.get_num_threads()} threads of {os.cpu_count()} cores", None


def _gpu() -> tuple[str, str | None]:
    import torch

    from depthrf.device import has_cuda_driver
    from depthrf.nerf.hashgrid import missing_for_triton

    if not torch.cuda.is_available():
        if has_cuda_driver():
            return "there is a GPU, but this torch cannot use it", "install a CUDA build of torch that fits the driver"
        return "none; depthrf uses the CPU (preset `cpu`)", None
    sizes = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    found = ", ".join(f"{s.name} ({s.total_memory / _GIB:.0f} GB)" for s in sizes)
    if missing := missing_for_triton():
        return f"{found}; Triton cannot compile its kernels, so training is slower", f"install {missing}"
    return found, None


def _memory() -> tuple[str, str | None]:
    import torch

    from depthrf.device import free_memory

    free = free_memory(torch.device("cpu"))
    if free is None:
        return "the system does not tell", None
    fix = None if free > _LEAST_MEMORY else "close other programs, or use the preset `fast`"
    return f"{free / _GIB:.1f} GB free", fix


def _opencv() -> tuple[str, str | None]:
    import cv2

    return str(cv2.__version__), None


def _sfm() -> tuple[str, str | None]:
    importlib.import_module("depthrf.sfm.child._pycolmap")
    return f"pycolmap {importlib.metadata.version('pycolmap')}", None


def _kernels() -> tuple[str, str | None]:
    import numba

    return f"numba {numba.__version__}", None


def _heic() -> tuple[str, str | None]:
    return f"pillow-heif {importlib.import_module('pillow_heif').__version__}", None


def _video() -> tuple[str, str | None]:
    from depthrf.io.encoding import check_encoder

    check_encoder()
    return "H.264 can be written and read", None


def _depth_networks() -> tuple[str, str | None]:
    from depthrf.io.weights import manifest as weights

    entries = [entry for entry in weights.list_weights() if entry.weights.kind in ("depth", "inverse_depth")]
    present = [entry.weights.name for entry in entries if entry.present]
    if present:
        importlib.import_module("timm")  # needs a torchvision that fits torch
        return ", ".join(present), None
    return f"none in {weights.folder()}; depth comes from stereo", f"depthrf weights fetch {entries[0].weights.name}"


def _matching_networks() -> tuple[str, str | None]:
    from depthrf.io.weights import learned_features
    from depthrf.io.weights import manifest as weights

    if learned_features.installed("cpu") is not None:
        return ", ".join(learned_features.NAMES), None
    if weights.is_offline():
        return "not here, and downloads are forbidden; SIFT alone", f"unset {weights.OFFLINE}, or copy the weights here"
    return "not here; 17 MB are downloaded when SIFT does not place all photos", None


def _disk(folder: Path) -> Finding:
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    fix = None if free > _LEAST_DISK else "free some space, or give another folder with -o"
    return Finding("disk", f"{free / _GIB:.1f} GB free at {existing}", fix)


_CHECKS: dict[str, Callable[[], tuple[str, str | None]]] = {
    "Python": _python,
    "torch": _torch,
    "GPU": _gpu,
    "memory": _memory,
    "CPU kernels": _kernels,
    "OpenCV": _opencv,
    "SfM": _sfm,
    "HEIC photos": _heic,
    "video": _video,
    "depth networks": _depth_networks,
    "matching networks": _matching_networks,
}
_REQUIRED = {"Python", "torch", "CPU kernels", "OpenCV", "SfM", "video"}
_FIXES = {
    "OpenCV": "on Debian or Ubuntu: apt-get install libgl1 libegl1 libx11-6 libglib2.0-0",
    "SfM": "pip install --force-reinstall pycolmap",
    "video": "pip install --force-reinstall imageio-ffmpeg",
    "depth networks": "install the torchvision that fits this torch, or use --depth-source stereo",
}
