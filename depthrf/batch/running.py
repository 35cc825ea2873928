"""One scene of a batch: `depthrf reconstruct` in a process of its own, and what came of it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from depthrf.batch.scenes import Scene
from depthrf.errors import DepthrfError
from depthrf.evaluation import read_evaluation
from depthrf.records import read_record
from depthrf.stages.stage import STAGES
from depthrf.workspace import Workspace

_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of <sys/prctl.h>


@dataclass(frozen=True)
class Outcome:
    """What came of a scene.

    Attributes:
        verdict: ``done``, ``refused`` (its photos or options do not allow it), or ``died`` (killed, or out of memory).
        message: The last error; empty where it is done.
        placed, photos: How many photos have poses, and how many there are; None where SfM has not run.
        psnr: Mean over held-out views, dB; None where none were held out.
        minutes: Of this run.
        attempts: How often it was started.
        host: The machine that it ran on.
    """

    name: str
    verdict: str
    message: str
    placed: int | None
    photos: int | None
    psnr: float | None
    minutes: float
    attempts: int
    host: str
    workspace: str
    video: str | None


def run_scene(
    scene: Scene,
    settings: tuple[str, ...],
    *,
    evaluate: bool,
    retries: int,
    environment: Mapping[str, str],
    tell: Callable[[str], None],
) -> Outcome:
    """Reconstructs a scene, and scores it where photos were held out. A run that died is started again and goes on.

    Args:
        scene: Which.
        settings: Arguments of ``depthrf reconstruct`` behind its photos and workspace.
        evaluate: Whether to score held-out photos afterwards.
        retries: How often to start again what was killed.
        environment: Variables of the process beside this one's.
        tell: Takes a line of progress.
    """
    start = time.monotonic()
    scene.log.parent.mkdir(parents=True, exist_ok=True)
    commands = [["reconstruct", str(scene.photos), "-o", str(scene.workspace), *settings]]
    if evaluate:
        commands.append(["evaluate", str(scene.workspace)])
    verdict, message, attempts = "done", "", 1
    while commands and verdict == "done":
        code, last = _run(commands[0], scene, environment, tell)
        if code == 0:
            commands.pop(0)
        elif code < 0 and attempts <= retries:
            tell(f"{scene.name}: killed by signal {-code}, goes on (attempt {attempts + 1} of {retries + 1})")
            attempts += 1
        else:
            verdict = "died" if code < 0 else "refused"
            message = last or f"killed by signal {-code}" if code < 0 else last
    tell(f"{scene.name}: {verdict}{f': {message}' if message else ''}")
    return _outcome(scene, verdict, message, (time.monotonic() - start) / 60, attempts)


def failed(scene: Scene, message: str) -> Outcome:
    """The outcome of a scene whose worker did not come back."""
    return _outcome(scene, "died", message, 0.0, 0)


def _run(
    arguments: list[str], scene: Scene, environment: Mapping[str, str], tell: Callable[[str], None]
) -> tuple[int, str]:
    """Exit code (negative: the signal that ended it) and the last error of a command, whose output goes to the log."""
    error = ""
    with scene.log.open("a", encoding="utf-8") as log:
        log.write(f"$ depthrf {' '.join(arguments)}\n")
        log.flush()
        process = subprocess.Popen(
            [sys.executable, "-m", "depthrf", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**os.environ, **environment},
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )
        assert process.stdout is not None
        try:
            for line in process.stdout:
                log.write(line)
                log.flush()
                if line.startswith("error: "):
                    error = line.removeprefix("error: ").strip()
                elif (stage := line.split(":")[0].strip()) in STAGES and not line.startswith(" "):
                    tell(f"{scene.name}: {stage}")
            return process.wait(), error
        except BaseException:  # an interruption of the batch: the scene's process ends first, and keeps what it has
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=10)
            process.kill()
            raise


def _die_with_parent() -> None:
    """A scene must not outlive a worker that was killed: it would hold the workspace against the next attempt."""
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)


def _outcome(scene: Scene, verdict: str, message: str, minutes: float, attempts: int) -> Outcome:
    workspace = Workspace(scene.workspace)
    placed = photos = psnr = None
    with contextlib.suppress(DepthrfError):  # a damaged record does not end the batch
        if (record := read_record(workspace.record("sfm"))) is not None:
            placed, photos = record.summary.get("num_registered"), record.summary.get("num_photos")
        if (scores := read_evaluation(workspace.evaluation)) is not None:
            psnr = scores.mean.get("psnr")
    video = next((str(p) for p in (workspace.video,) if p.is_file()), None)
    return Outcome(
        scene.name,
        verdict,
        message,
        placed,
        photos,
        psnr,
        round(minutes, 2),
        attempts,
        os.uname().nodename if hasattr(os, "uname") else "",
        str(scene.workspace),
        video,
    )
