"""Settings of the whole process, to be made before torch loads and threads start."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import signal
import sys
import threading
import time
from pathlib import Path

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # of glibc's <malloc.h>
_NEVER = 2**31 - 1
_PATIENCE_S = 1.5


def tune() -> None:
    """Lets waiting threads sleep, and keeps freed memory for the next allocation."""
    # By default they spin, which on a shared machine takes the cores from those that work. Read when torch loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # OpenBLAS's threads spin whatever that says, and our products of matrices in NumPy are small.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
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


class Leaving:
    """A context in which SIGINT and SIGTERM end the process within two seconds, whatever it is doing.

    Both raise KeyboardInterrupt in the main thread, as far as Python gets to run. Where that has not ended the process
    after a while, as while kernels are compiled, a thread ends it. Nothing is lost by that: files are written whole or
    not at all, and temporary ones are removed by the next run.

    Args:
        words: What to say then.
    """

    def __init__(self, words: str) -> None:
        self._words = words
        self._number: int | None = None

    @property
    def code(self) -> int:
        """The exit code that shells and schedulers know: 130 after SIGINT, 143 after SIGTERM."""
        return 128 + (self._number or signal.SIGINT)

    def __enter__(self) -> Leaving:
        self._before = {n: signal.signal(n, self._interrupt) for n in (signal.SIGINT, signal.SIGTERM)}
        self._noticed, self._writing = os.pipe()
        os.set_blocking(self._writing, False)
        signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)  # written to even while no Python code runs
        threading.Thread(target=self._see_to_it, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._number is not None:
            return  # the end of the process may take long as well
        signal.set_wakeup_fd(-1)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._writing)

    def _interrupt(self, number: int, frame: object) -> None:
        self._number = number
        raise KeyboardInterrupt

    def _see_to_it(self) -> None:
        while (noticed := os.read(self._noticed, 1)) and noticed[0] not in self._before:
            pass
        if noticed:
            time.sleep(_PATIENCE_S)
            os.write(sys.__stderr__.fileno(), f"\nerror: {self._words}\n".encode())  # type: ignore[union-attr]
            os._exit(128 + noticed[0])
        os.close(self._noticed)


class PeakMemory:
    """The most memory that this process, or one child that ended meanwhile, has held since this object was made.

    Linux alone tells the peak of a span of time; elsewhere :attr:`megabytes` is None.
    """

    def __init__(self) -> None:
        self._children = _largest_child()
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # sets the peak to what is held now

    @property
    def megabytes(self) -> float | None:
        """Peak of resident memory in MB (10^6 bytes)."""
        try:
            status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        except OSError:
            return None
        own = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
        children = _largest_child()
        return 1.024e-3 * max(own, children if children > self._children else 0)


def _largest_child() -> int:
    """The peak of the largest child that has ended, kB; 0 where the system does not tell."""
    if sys.platform != "linux":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
