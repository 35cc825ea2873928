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

    A training step allocates and frees the same few hundred megabytes again and again. By default each large block is
    handed back to the system and asked for anew, and the system clears every page before it gives it: a third to half
    of the CPU time of a step. One arena for all threads, because others have no room for large blocks.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    settings = {_ARENA_MAX: 1, _MMAP_THRESHOLD: 2**30, _TRIM_THRESHOLD: _NEVER}
    return all(ctypes.CDLL(None).mallopt(key, value) == 1 for key, value in settings.items())
