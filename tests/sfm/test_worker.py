"""The child process: its errors, its death and its end when the parent is interrupted."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from depthrf.errors import DepthrfError
from depthrf.sfm import worker
from depthrf.sfm.jobs import CameraGroup, Folders, LearnedWeights, ReconstructJob


def make_job(root: Path) -> ReconstructJob:
    folders = Folders(root / "images", root / "sfm", root / "u" / "images", root / "u" / "sparse", root / "p.ply")
    folders.sfm.mkdir(exist_ok=True)
    return ReconstructJob(folders, (CameraGroup(("a.jpg", "b.jpg", "c.jpg"), 64, 48),), "x", 64, 0, 1, 3)


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """Collects the processes that the worker starts."""
    started: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen

    def remember(*args: Any, **kwargs: Any) -> subprocess.Popen[bytes]:
        started.append(start(*args, **kwargs))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", remember)
    return started


_FAILS_AT_WORK = """
from depthrf.sfm import worker

def handle(job, report):
    report("Undistorting photos", 0, 3)
    assert job is None

worker._handle = handle
worker.main()
"""


def test_an_unexpected_error_names_the_work_the_place_and_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command, start = [sys.executable, "-c", _FAILS_AT_WORK], subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda _, **options: start(command, **options))
    log = tmp_path / "log.txt"
    with pytest.raises(DepthrfError) as caught:
        worker.run_job(make_job(tmp_path), log, lambda *_: None)
    assert "(undistorting photos): AssertionError in line 6 of <string>" in str(caught.value)
    assert str(log) in str(caught.value)
    assert "Traceback" in log.read_text(encoding="utf-8")


def test_a_dead_child_is_reported(tmp_path: Path, children: list[subprocess.Popen[bytes]]) -> None:
    def kill(*_: Any) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(children[0].pid, signal.SIGABRT)

    job = make_job(tmp_path)
    job.folders.images.mkdir()
    for name in job.groups[0].names:
        _write_image(job.folders.images / name)
    with pytest.raises(DepthrfError, match=r"SIGABRT.*log\.txt"):
        worker.run_job(job, tmp_path / "log.txt", kill)


def test_a_growing_table_is_followed(tmp_path: Path) -> None:
    database, told = tmp_path / "a.db", []
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("create table rows (x)")
        with worker._polling((database, "rows", "Counting", 3), lambda *step: told.append(step)):
            connection.executemany("insert into rows values (?)", [(1,), (2,)])
            connection.commit()
            time.sleep(1.0)
    assert told[0] == ("Counting", 0, 3)
    assert told[-1] == ("Counting", 2, 3)


_OPENS_A_DATABASE_OFTEN = """
from pathlib import Path
from depthrf.sfm import worker
from depthrf.sfm.child._pycolmap import pycolmap

def handle(job, report):
    database = job.folders.sfm / "a.db"
    pycolmap.Database.open(database).close()
    for _ in range(5):
        with report.watch(database, "keypoints", "Counting", 3):
            for _ in range(200):
                pycolmap.Database.open(database).close()
        pycolmap.Database.open(database).close()
    return "done"

worker._handle = handle
worker.main()
"""


def test_the_child_opens_the_database_that_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command, start = [sys.executable, "-c", _OPENS_A_DATABASE_OFTEN], subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda _, **options: start(command, **options))
    monkeypatch.setattr(worker, "_POLL_SECONDS", 0)
    done: object = worker.run_job(make_job(tmp_path), tmp_path / "log.txt", lambda *_: None)
    assert done == "done"


def test_interrupting_the_parent_ends_the_child(tmp_path: Path, children: list[subprocess.Popen[bytes]]) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    job = make_job(tmp_path)
    job.folders.images.mkdir()
    for name in job.groups[0].names:
        _write_image(job.folders.images / name)
    with pytest.raises(KeyboardInterrupt):
        worker.run_job(job, tmp_path / "log.txt", interrupt)
    assert children[0].returncode == -signal.SIGKILL


def test_the_child_ends_when_its_parent_is_gone(tmp_path: Path) -> None:
    code = "import time; from depthrf.sfm import worker; worker._handle = lambda *a: time.sleep(60); worker.main()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None
    pickle.dump(make_job(tmp_path), child.stdin)
    child.stdin.flush()
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(timeout=1.5)
    child.stdin.close()
    assert child.wait(timeout=20) == 1


def _write_image(path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (64, 48)).save(path)


_ASKS_FOR_WEIGHTS = """
from depthrf.sfm import worker
from depthrf.sfm.child._pycolmap import pycolmap

def handle(job, report):
    database = job.folders.sfm / "a.db"
    pycolmap.Database.open(database).close()
    with report.watch(database, "keypoints", "Counting", 3):
        first = report.learned_weights()
    with report.watch(database, "keypoints", "Counting", 3):
        pass
    return first, report.learned_weights()

worker._handle = handle
worker.main()
"""


@pytest.mark.parametrize("weights", [None, LearnedWeights(Path("a"), Path("b"), "cpu")])
def test_the_parent_is_asked_for_weights_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: LearnedWeights | None
) -> None:
    command, start, asked = [sys.executable, "-c", _ASKS_FOR_WEIGHTS], subprocess.Popen, []
    monkeypatch.setattr(subprocess, "Popen", lambda _, **options: start(command, **options))

    def find() -> LearnedWeights | None:
        asked.append(1)
        return weights

    found: Any = worker.run_job(make_job(tmp_path), tmp_path / "log.txt", lambda *_: None, find)
    assert found == (weights, weights)
    assert asked == [1]
