"""Kills the run at its n-th rename or sync, or lets its clock go back. Children of the run import it by its name.

``FAULTS_AT``: at which one, counted over all processes of the run; ``FAULTS_AFTER``: once it is done, else before it.
``FAULTS_GROUP``: the process group to kill. ``FAULTS_COUNT``: a file that grows by one byte with each.
``FAULTS_CLOCK``: the clock goes back by a minute whenever it is read.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any


def install() -> None:
    """Wraps the calls of this process if the environment says so."""
    if "FAULTS_AT" in os.environ:
        for name in ("replace", "rename", "fsync"):
            setattr(os, name, _counted(getattr(os, name)))
    if "FAULTS_CLOCK" in os.environ:
        for name, minute in (("time", 60), ("time_ns", 60 * 10**9)):
            setattr(time, name, _going_back(getattr(time, name), minute))


def _going_back(clock: Callable[[], Any], minute: int) -> Callable[[], Any]:
    reads = 0

    def read() -> Any:
        nonlocal reads
        reads += 1
        return clock() - reads * minute

    return read


def _counted(call: Callable[..., Any]) -> Callable[..., Any]:
    def counted(*arguments: Any, **options: Any) -> Any:
        with open(os.environ["FAULTS_COUNT"], "ab", buffering=0) as count:
            count.write(b".")
            is_now = count.tell() == int(os.environ["FAULTS_AT"])
        after = "FAULTS_AFTER" in os.environ
        if is_now and not after:
            _kill()
        result = call(*arguments, **options)
        if is_now and after:
            _kill()
        return result

    return counted


def _kill() -> None:
    os.killpg(int(os.environ["FAULTS_GROUP"]), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


install()
