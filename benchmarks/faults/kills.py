"""Kills with -9 of the whole process group: at random times, and at every rename and sync."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.faults import scene
from benchmarks.faults.finished import problems_at_end
from benchmarks.faults.outcome import Outcome


def at_random(folder: Path, expected: dict[str, str], most: int, rng: random.Random, until: float) -> Outcome:
    """Kills one run after the other in one workspace; a new one is begun whenever a run comes to its end."""
    outcome = Outcome("killed at random times", "kills")

    def disturbed(spare: float) -> scene.Run | None:
        run = scene.start(folder, scene.COMMAND)
        if run.wait(rng.uniform(0.0, spare)) is None:
            run.kill()
            return None
        return run

    _series(folder, expected, outcome, most, until, disturbed)
    return outcome


def at_points(folder: Path, expected: dict[str, str], most: int, until: float, *, after: bool) -> Outcome:
    """Kills at the first rename or sync of what is left to do, then at the second, and so on.

    Whenever a stage has come to its end, it begins with the first one again.
    """
    outcome = Outcome(f"killed {'after' if after else 'before'} each rename and sync", "kills")
    at, stages = 0, scene.finished(folder)

    def disturbed(_: float) -> scene.Run | None:
        nonlocal at, stages
        at = 1 if scene.finished(folder) != stages else at + 1
        stages = scene.finished(folder)
        count = folder / "count"
        count.unlink(missing_ok=True)
        run = scene.start(
            folder,
            scene.COMMAND,
            {"FAULTS_AT": str(at), "FAULTS_COUNT": str(count)} | ({"FAULTS_AFTER": "1"} if after else {}),
        )
        code = run.wait(scene.LONGEST_RUN)
        if code is None:
            run.kill()
            outcome.problems.append(f"the run with a kill at point {at} hangs: {run.said[-300:]}")
        return None if code == -9 else run

    _series(folder, expected, outcome, most, until, disturbed)
    return outcome


def _series(
    folder: Path,
    expected: dict[str, str],
    outcome: Outcome,
    most: int,
    until: float,
    disturbed: Callable[[float], scene.Run | None],
) -> None:
    """Calls ``disturbed`` until there were enough kills; it returns the run if that came to its end by itself."""
    begun, spare, stages = time.monotonic(), 4.0, set[str]()
    photos: dict[str, tuple[str, int]] = {}
    while outcome.tried < most and time.monotonic() < until and not outcome.is_hopeless:
        if not folder.is_dir():
            folder.mkdir(parents=True)
            scene.write_photos(folder)
            photos, spare, stages = scene.photos_of(folder), 4.0, set()
        run = disturbed(spare)
        if run is None:
            outcome.tried += 1
            outcome.problems += scene.unreadable(folder)
            now = scene.finished(folder)
            spare, stages = (4.0 if now > stages else min(1.3 * spare, scene.LONGEST_RUN)), now
        else:
            _check_end(folder, run, expected, photos, outcome)
    if folder.is_dir() and outcome.tried:
        run = scene.start(folder, scene.COMMAND)
        run.wait(scene.LONGEST_RUN)
        _check_end(folder, run, expected, photos, outcome)
    outcome.seconds = round(time.monotonic() - begun, 1)


def _check_end(
    folder: Path, run: scene.Run, expected: dict[str, str], photos: dict[str, tuple[str, int]], outcome: Outcome
) -> None:
    outcome.runs += 1
    problems = problems_at_end(folder, run, expected, photos)
    if problems:
        outcome.problems += problems
        shutil.copytree(folder, folder.with_name(f"{folder.name}-{outcome.runs}"))
    shutil.rmtree(folder)
