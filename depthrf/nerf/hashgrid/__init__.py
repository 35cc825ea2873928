"""Multi-resolution hash encoding: one contract (``contract.py``), one implementation for each kind of device."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import shutil
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    Encode = Callable[[Tensor, Tensor, list[int]], Tensor]


@functools.cache
def implementation(device_type: str) -> Encode:
    """The fastest ``encode`` for tensors on a device: numba, Triton, or the reference where that cannot run."""
    name = {"cpu": "cpu", "cuda": "reference" if missing_for_triton() else "cuda"}.get(device_type, "reference")
    return importlib.import_module(f"depthrf.nerf.hashgrid.{name}").encode  # type: ignore[no-any-return]


def missing_for_triton() -> str | None:
    """The Debian or Python package without which Triton cannot start its kernels here; it compiles a small launcher."""
    if importlib.util.find_spec("triton") is None:
        return "triton"
    if not (os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")):
        return "gcc"
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
        return "python3-dev"
    return None
