"""Times of short trials, without the time that other programs take meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from depthrf.process import PeakMemory


@dataclass
class Trial:
    """What a trial took, known when it has ended.

    seconds: As on a machine that does nothing else. busy_seconds: As it was. memory_mb: Peak, MB; None where the system
    does not tell. grown_mb: By how much that exceeds what was held before.
    """

    seconds: float = 0.0
    busy_seconds: float = 0.0
    memory_mb: float | None = None
    grown_mb: float = 0.0


@contextmanager
def trial() -> Iterator[Trial]:
    """Measures the block, whose work is done by this process's threads."""
    result, memory, held = Trial(), PeakMemory(), _resident_mb()
    before, start = _waits(), time.perf_counter()
    try:
        yield result
    finally:
        result.busy_seconds = time.perf_counter() - start
        result.seconds = result.busy_seconds * _served(before, _waits())
        result.memory_mb = memory.megabytes
        if result.memory_mb is not None:
            result.grown_mb = max(0.0, result.memory_mb - held)


def _served(before: dict[int, tuple[int, int]], after: dict[int, tuple[int, int]]) -> float:
    """The share of the time in which threads wanted a core and had one; 1 where the system does not tell."""
    ran = waited = 0
    for thread, (run, wait) in after.items():
        run_before, wait_before = before.get(thread, (0, 0))
        ran, waited = ran + run - run_before, waited + wait - wait_before
    return ran / (ran + waited) if ran > 0 else 1.0


def _waits() -> dict[int, tuple[int, int]]:
    """Nanoseconds that each thread ran, and waited for a core (Linux, Documentation/scheduler/sched-stats.rst)."""
    found = {}
    for file in Path("/proc/self/task").glob("*/schedstat"):
        try:
            run, wait, _ = map(int, file.read_text(encoding="ascii").split())
        except (OSError, ValueError):  # the thread has ended, or the kernel does not count
            continue
        found[int(file.parent.name)] = (run, wait)
    return found


def _resident_mb() -> float:
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0.0
    return next((1.024e-3 * int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")), 0.0)
