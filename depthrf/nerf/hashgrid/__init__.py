"""Multi-resolution hash encoding: one contract (``contract.py``), one implementation for each kind of device."""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    Encode = Callable[[Tensor, Tensor, list[int]], Tensor]


@functools.cache
def implementation(device_type: str) -> Encode:
    """The fastest ``encode`` for tensors on a device: numba, Triton, or the reference where there is neither."""
    has_triton = importlib.util.find_spec("triton") is not None
    name = {"cpu": "cpu", "cuda": "cuda" if has_triton else "reference"}.get(device_type, "reference")
    return importlib.import_module(f"depthrf.nerf.hashgrid.{name}").encode  # type: ignore[no-any-return]
