"""Runs started in the same instant, and clocks that are wrong."""

from __future__ import annotations

import os
import time

from benchmarks.faults import scene
from benchmarks.faults.finished import Finished, problems_of_refusal
from benchmarks.faults.outcome import Outcome
from depthrf.stages.stage import STAGES

_AT_ONCE = 3
_DAY_NS = 24 * 3600 * 10**9


def at_once(finished: Finished, most: int, until: float) -> Outcome:
    """Starts three runs in the same instant on a new workspace: one works, the others do or say that it does."""
    outcome, begun = Outcome(f"{_AT_ONCE} runs started at once", "starts"), time.monotonic()
    command = scene.command_until("sfm")
    while outcome.tried < min(most, 8) and time.monotonic() < until:
        # The last ones on a workspace that is there already.
        if outcome.tried < 5:
            finished.restore_photos()
        else:
            finished.restore(before="sfm")
        runs = [scene.start(finished.folder, command) for _ in range(_AT_ONCE)]
        codes = [run.end() for run in runs]
        outcome.tried += 1
        outcome.refused += sum(code != 0 for code in codes)
        if 0 not in codes:
            outcome.problems.append(f"none of the runs came to its end: {runs[0].said[-300:]}")
        for run, code in zip(runs, codes, strict=True):
            if code == 0:
                outcome.runs += 1
                outcome.problems += finished.problems(run, until="sfm")
            else:
                words = ("Another depthrf process",)
                outcome.problems += problems_of_refusal(finished.folder, run, code, words)
    outcome.seconds = round(time.monotonic() - begun, 1)
    return outcome


def clocks(finished: Finished, most: int, until: float) -> Outcome:
    """Lets all files come from tomorrow, and the clock go back again and again during a run."""
    outcome, begun = Outcome("clock set back", "runs"), time.monotonic()
    finished.restore()
    for path in finished.folder.rglob("*"):
        times = path.stat()
        os.utime(path, ns=(times.st_atime_ns + _DAY_NS, times.st_mtime_ns + _DAY_NS))
    run = scene.start(finished.folder, scene.COMMAND)
    run.end()
    problems = [p for p in finished.problems(run) if "photos are not" not in p]  # whose times were just changed
    problems += [f"{stage} ran again" for stage in STAGES if f"{stage}: nothing to do" not in run.said]
    outcome.problems += [f"files from tomorrow: {problem}" for problem in problems]
    outcome.tried, outcome.runs = 1, 1
    if most > 1 and time.monotonic() < until:
        finished.restore_photos()
        run = scene.start(finished.folder, scene.COMMAND, {"FAULTS_CLOCK": "1"})
        run.end()
        outcome.problems += [f"a clock that goes back: {problem}" for problem in finished.problems(run)]
        outcome.tried, outcome.runs = 2, 2
    outcome.seconds = round(time.monotonic() - begun, 1)
    return outcome
