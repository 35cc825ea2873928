"""Disks that are full, and folders that cannot be written: a message, nothing lost, and the same command goes on."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.faults import scene
from benchmarks.faults.finished import Finished, problems_of_refusal
from benchmarks.faults.outcome import Outcome
from depthrf.stages.stage import STAGES

_DISK_BYTES = 256 * 2**20
_SHARES = (0.5, 0.0, 0.9, 0.2)  # of what a stage writes that the disk has room for


def full(finished: Finished, most: int, until: float) -> Outcome:
    """Lets every stage run on a disk that has room for a part of what it writes, then on one with room for all."""
    outcome, begun = Outcome("disk full in every stage", "full disks"), time.monotonic()
    for share, stage in ((share, stage) for share in _SHARES for stage in STAGES):
        if outcome.tried >= most or time.monotonic() > until or outcome.is_hopeless:
            break
        with _disk(finished.folder):
            finished.restore(before=stage)
            _on_full_disk(finished, stage, share, outcome)
    outcome.seconds = round(time.monotonic() - begun, 1)
    return outcome


def _on_full_disk(finished: Finished, stage: str, share: float, outcome: Outcome) -> None:
    folder, command = finished.folder, scene.command_until(stage)
    room = int(share * sum(_bytes_of(finished.copy / path.relative_to(folder)) for path in finished.outputs(stage)))
    ballast = folder / "ballast"
    _fill(ballast, shutil.disk_usage(folder).free - room)
    run = scene.start(folder, command)
    code = run.end()
    ballast.unlink()
    outcome.tried += 1
    where = f"{stage} with {room / 1000:.0f} kB free: "
    if code != 0:
        outcome.refused += 1
        words = ("space", "disk")
        outcome.problems += [where + problem for problem in problems_of_refusal(folder, run, code, words)]
        run = scene.start(folder, command)
        run.end()
    outcome.runs += 1
    outcome.problems += [where + problem for problem in finished.problems(run, until=stage)]


def read_only(finished: Finished, most: int, until: float) -> Outcome:
    """Lets every stage run where it may not write into one of its folders, then where it may."""
    outcome, begun = Outcome("folders that cannot be written", "folders"), time.monotonic()
    for stage in STAGES:
        for path in dict.fromkeys(path for output in finished.outputs(stage) for path in (output.parent, output)):
            if outcome.tried >= most or time.monotonic() > until or outcome.is_hopeless:
                break
            finished.restore(before=stage)
            if (finished.copy / path.relative_to(finished.folder)).is_dir():
                path.mkdir(parents=True, exist_ok=True)
            if path.is_dir() and path.is_relative_to(finished.workspace.root):
                _unwritable(finished, stage, path, outcome)
    outcome.seconds = round(time.monotonic() - begun, 1)
    return outcome


def _unwritable(finished: Finished, stage: str, path: Path, outcome: Outcome) -> None:
    folder, command = finished.folder, scene.command_until(stage)
    mode = stat.S_IMODE(path.stat().st_mode)
    path.chmod(0o555)
    run = scene.start(folder, command, powerless=True)
    code = run.end()
    path.chmod(mode)
    outcome.tried += 1
    where = f"{stage} with {path.relative_to(folder)} read-only: "
    if code != 0:
        outcome.refused += 1
        problems = problems_of_refusal(folder, run, code, ("ermission", "annot write"))
        outcome.problems += [where + problem for problem in problems]
        run = scene.start(folder, command, powerless=True)
        run.end()
    outcome.runs += 1
    outcome.problems += [where + problem for problem in finished.problems(run, until=stage)]


@contextlib.contextmanager
def _disk(folder: Path) -> Iterator[None]:
    """A small disk of its own at ``folder``."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_DISK_BYTES}", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _fill(ballast: Path, size: int) -> None:
    descriptor = os.open(ballast, os.O_WRONLY | os.O_CREAT)
    os.posix_fallocate(descriptor, 0, max(1, size))
    os.close(descriptor)


def _bytes_of(path: Path) -> int:
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())
