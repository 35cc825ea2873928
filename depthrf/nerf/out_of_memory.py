"""Working with fewer rays at a time where a device's memory runs out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

Result = TypeVar("Result")

_MIN_RAYS = 32


def with_fewer_rays(work: Callable[[int], Result], rays: int) -> tuple[Result, int]:
    """``work(rays)``, repeated with half as many rays until memory suffices.

    Returns:
        The result, and the number of rays it was computed with.

    Raises:
        torch.OutOfMemoryError: Even a few rays need too much.
    """
    while True:
        try:
            return work(rays), rays
        except torch.OutOfMemoryError:
            if rays <= _MIN_RAYS:
                raise
        # Only after the except block is the exception gone, and with it what it holds of the failed work's tensors.
        torch.cuda.empty_cache()
        rays = (rays + 1) // 2
