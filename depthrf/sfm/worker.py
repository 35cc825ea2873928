"""pycolmap's work in a child process: its aborts, memory and log stay there, and Ctrl-C ends it at once.

The parent sends one pickled job to the child's stdin and reads pickled messages from its stdout; the child's own
output (glog, C++ aborts) goes to the log file. After the job, stdin carries the parent's answers, pickled in the order
of the child's questions. The child ends itself when its stdin closes, so that it never outlives a killed parent.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from depthrf.errors import DepthrfError, described
from depthrf.sfm.jobs import (
    ExtendJob,
    FindWeights,
    Job,
    LearnedWeights,
    Progress,
    ReconstructJob,
    RegisterJob,
    Reporter,
    Result,
    TrialJob,
    TriangulateJob,
)

_POLL_SECONDS = 0.3
_FULL_DISK = 2**20  # bytes


def run_job(job: Job, log: Path, progress: Progress, find_weights: FindWeights = lambda: None) -> Result:
    """Runs ``job`` in a child process and returns its result.

    Args:
        job: What to do.
        log: File that receives everything the child prints.
        progress: Called in this process as the child advances.
        find_weights: Called in this process if the job comes to need the networks.

    Raises:
        DepthrfError: The photos cannot be reconstructed, or the child died; the message names the log.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    package_root = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [package_root, os.environ.get("PYTHONPATH")]))
    with open(log, "ab") as handle:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "depthrf.sfm.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=handle,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,  # Ctrl-C reaches the parent alone, which then kills the child
        )
    try:
        return _listen(child, job, log, progress, find_weights)
    finally:
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def _listen(
    child: subprocess.Popen[bytes], job: Job, log: Path, progress: Progress, find_weights: FindWeights
) -> Result:
    assert child.stdin is not None
    assert child.stdout is not None
    watching = contextlib.ExitStack()
    try:
        _send(child.stdin, pickle.dumps(job))
        while True:
            kind, value = pickle.load(child.stdout)
            if kind == "progress":
                progress(*value)
            elif kind == "watch":
                watching.enter_context(_polling(value, progress))
            elif kind == "watched":
                watching.close()
                _send(child.stdin, pickle.dumps(None))
            elif kind == "weights":
                _send(child.stdin, pickle.dumps(find_weights()))
            elif kind == "result":
                result: Result = value
                return result
            elif kind == "refused":
                raise DepthrfError(value)
            else:
                doing, error = value
                raise DepthrfError(
                    f"Structure from motion stopped with an unexpected error ({doing}): {error}. Its log is {log}; "
                    "please report both."
                )
    except (EOFError, pickle.UnpicklingError):
        raise DepthrfError(_death(child.wait(), log)) from None
    finally:
        watching.close()


def _send(stream: IO[bytes], data: bytes) -> None:
    """Raises EOFError where nobody reads any more."""
    try:
        stream.write(data)
        stream.flush()
    except BrokenPipeError:
        raise EOFError from None


@contextlib.contextmanager
def _polling(watched: tuple[Path, str, str, int], progress: Progress) -> Iterator[None]:
    """Reports the growing number of rows of ``watched``: database, table, what is being done, final number.

    This runs in the parent because pycolmap brings its own copy of SQLite. Two copies in one process undo each other's
    file locks (https://www.sqlite.org/howtocorrupt.html, 2.2.1), and the child dies of it.
    """
    database, table, what, total = watched
    done = threading.Event()

    def poll() -> None:
        while not done.wait(_POLL_SECONDS):
            with contextlib.suppress(sqlite3.Error):
                connection = sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True, timeout=0.1)
                with contextlib.closing(connection):
                    (count,) = connection.execute(f"select count(*) from {table}").fetchone()
                progress(what, min(count, total), total)

    progress(what, 0, total)
    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _death(code: int, log: Path) -> str:
    """Why the child ended without a result."""
    if code < 0:
        name = signal.Signals(-code).name
        cause = f"was ended by {name}"
        if name == "SIGKILL":
            cause += ", probably because memory ran out: use fewer or smaller photos (max_image_size)"
        elif shutil.disk_usage(log.parent).free < _FULL_DISK:
            cause += ", probably because the disk is full: make room and run it again"
    else:
        cause = f"ended with code {code}"
    return f"Structure from motion (pycolmap) {cause}. The log is {log}."


class _Messages:
    """The child's :class:`depthrf.sfm.jobs.Reporter`, and its only way to speak to the parent."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self.doing = "Starting"
        """The last kind of work that was begun."""
        self._weights: list[LearnedWeights | None] = []
        self.answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        """What the parent says, oldest first: None when it has closed the database that it watched, or weights."""

    def send(self, kind: str, value: Any) -> None:
        with self._lock:
            pickle.dump((kind, value), self._stream)
            self._stream.flush()

    def __call__(self, what: str, done: int, total: int) -> None:
        self.doing = what
        self.send("progress", (what, done, total))

    @contextlib.contextmanager
    def watch(self, database: Path, table: str, what: str, total: int) -> Iterator[None]:
        from depthrf.sfm.child._pycolmap import pycolmap

        # Whoever opens a database that nobody has open locks it for a moment. pycolmap does not wait for the lock and
        # fails with "No registered database factory succeeded". Kept open here, the parent never opens it first.
        self.doing = what
        with pycolmap.Database.open(database):
            self.send("watch", (database, table, what, total))
            try:
                yield
            finally:
                self.send("watched", None)
                self.answers.get()
        self(what, total, total)

    def learned_weights(self) -> LearnedWeights | None:
        if not self._weights:
            self.send("weights", None)
            self._weights.append(self.answers.get())
        return self._weights[0]


def _handle(job: Job, report: Reporter) -> Result:
    # Imported here: the parent imports this module too, and must not load pycolmap.
    if isinstance(job, ReconstructJob):
        from depthrf.sfm.child.reconstruction import reconstruct

        return reconstruct(job, report)
    if isinstance(job, TriangulateJob):
        from depthrf.sfm.child.given_poses import triangulate

        return triangulate(job, report)
    if isinstance(job, ExtendJob):
        from depthrf.sfm.child.further.extension import extend

        return extend(job, report)
    if isinstance(job, TrialJob):
        from depthrf.sfm.child.trial import try_out

        return try_out(job, report)
    assert isinstance(job, RegisterJob)
    from depthrf.sfm.child.further.placement import register

    return register(job, report)


def _follow_parent(answers: queue.SimpleQueue[Any]) -> None:
    with contextlib.suppress(EOFError, pickle.UnpicklingError):
        while True:
            answers.put(pickle.load(sys.stdin.buffer))
    os._exit(1)


def main() -> None:
    """The child's entry point."""
    messages = _Messages(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)
    try:
        job: Job = pickle.load(sys.stdin.buffer)
    except EOFError:
        return
    threading.Thread(target=_follow_parent, args=(messages.answers,), daemon=True).start()
    try:
        result = _handle(job, messages)
    except DepthrfError as e:
        messages.send("refused", str(e))
    except Exception as e:
        traceback.print_exc()
        messages.send("failed", (messages.doing.lower(), described(e)))
    else:
        messages.send("result", result)
    sys.stderr.flush()
    # Destructors of the C++ side have nothing left to save, and the stdin thread would block a normal exit.
    os._exit(0)


if __name__ == "__main__":
    main()
