"""Settings of the whole process, to be made before torch loads and threads start."""

from __future__ import annotations

import ctypes
import os
import platform

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # of glibc's <malloc.h>
_NEVER = 2**31 - 1


def tune() -> None:
    """OpenMP threads that sleep while they wait, and memory that is kept for the next time when it is freed."""
    # By default they spin, which on a shared machine takes the cores from those that work. Read when torch loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    keep_freed_memory()


def keep_freed_memory() -> bool:
    """Makes glibc keep freed memory for the next allocation; tells whether it does.

    A training step allocates and frees the same memory again and again. By default blocks of over 32 MB, such as the
    gradient of a grid of 2^19 entries a level, are handed back to the system and asked for anew, and the system clears
    every page before it gives it: a fifth of the CPU time of such a step, 3 % with the smaller grids of the `cpu`
    preset. One arena for all threads, because others have no room for large blocks.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    settings = {_ARENA_MAX: 1, _MMAP_THRESHOLD: 2**30, _TRIM_THRESHOLD: _NEVER}
    return all(ctypes.CDLL(None).mallopt(key, value) == 1 for key, value in settings.items())
