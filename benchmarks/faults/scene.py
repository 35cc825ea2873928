"""Five photos of a made-up room, the command that makes a film of them in seconds, and what it should leave."""

from __future__ import annotations

import ctypes
import hashlib
import itertools
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.faults.shim import sitecustomize
from depthrf.errors import DepthrfError
from depthrf.io.photos.table import read_photos
from depthrf.io.poses.transforms_json import load_views
from depthrf.io.weights.torch_files import read_torch_file
from depthrf.records import read_record
from depthrf.stages.stage import STAGES
from depthrf.workspace import Workspace, open_workspace
from tests.scenes import corner

COMMAND = (
    *("reconstruct", "photos", "-o", "ws", "--device=cpu", "--steps=30", "--set=train.max_side=48"),
    *("--set=train.optimiser.batch_rays=256", "--set=train.checkpoint_steps=5", "--set=train.preview_steps=10"),
    *("--set=depth.stereo.max_side=96", "--set=render.seconds=0.3", "--set=render.fps=20", "--set=render.max_side=48"),
    "--set=render.allow_untrusted=true",
)
_RESULTS = ("images", "undistorted", "depth", "sfm/sparse", "render", "transforms.json", "sparse_pc.ply")
_OF_THE_RUN = ("made_from.json",)  # names the checkpoint, which holds seconds
_LOGS = itertools.count()
LONGEST_RUN = 600.0  # seconds


def command_until(stage: str) -> tuple[str, ...]:
    """The command up to a stage. A film holds its command, so the last stage has to have the same."""
    return COMMAND if stage == list(STAGES)[-1] else (*COMMAND, f"--until={stage}")


def write_photos(folder: Path) -> None:
    corner.write_photos(folder / "photos", corner.views(5))


@dataclass(frozen=True)
class Run:
    """A running command in a process group of its own."""

    pid: int
    log: Path

    def wait(self, seconds: float) -> int | None:
        """Its exit code, negative for a signal; None when it is still running after so many seconds."""
        until = time.monotonic() + seconds
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() > until:
                return None
            time.sleep(0.005)

    def kill(self) -> None:
        os.killpg(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def end(self) -> int:
        """Its exit code; -9 where it did not end in time and was killed."""
        code = self.wait(LONGEST_RUN)
        if code is None:
            self.kill()
        return -9 if code is None else code

    @property
    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")


def start(
    folder: Path, arguments: Sequence[str], environment: Mapping[str, str] | None = None, *, powerless: bool = False
) -> Run:
    """Starts ``depthrf`` in ``folder``, as a fork of this process, in which all modules are loaded already.

    ``powerless``: permissions count, as for a user who is not root.
    """
    log = folder.parent / "logs" / f"{folder.name}-{next(_LOGS)}.txt"  # not in the folder, whose disk may be full
    log.parent.mkdir(exist_ok=True)
    pid = os.fork()
    if pid:
        _wait_for_group(pid)
        return Run(pid, log)
    os.setsid()
    os.chdir(folder)
    shim = str(Path(sitecustomize.__file__).parent)
    os.environ.update(environment or {}, FAULTS_GROUP=str(os.getpid()), PYTHONPATH=f"{shim}:{os.environ['PYTHONPATH']}")
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for descriptor in (1, 2):
        os.dup2(target, descriptor)
    if powerless:
        _obey_permissions()
    sitecustomize.install()
    sys.argv = ["depthrf", *arguments]
    code = 70
    try:
        from depthrf.cli import main

        signal.signal(signal.SIGINT, signal.default_int_handler)
        main()
        code = 0
    except SystemExit as e:
        code = e.code if isinstance(e.code, int) else 0 if e.code is None else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _obey_permissions() -> None:
    """Gives up the right to pass over permissions, for this process and those that it starts."""
    libc = ctypes.CDLL(None, use_errno=True)
    rights = (1, 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    for right in rights:
        libc.prctl(24, right, 0, 0, 0)  # PR_CAPBSET_DROP
    header, words = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    libc.capget(header, words)
    for index in (0, 1):  # effective, permitted
        words[index] &= ~sum(1 << right for right in rights)
    if libc.capset(header, words) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def _wait_for_group(pid: int) -> None:
    while os.getpgid(pid) != pid:
        time.sleep(0.0005)


def preload(kernels: Path) -> None:
    """Loads what the stages import, so that forks need not; what numba compiles is kept in the folder ``kernels``."""
    import numba

    plain = numba.njit
    numba.config.CACHE_DIR = str(kernels)
    numba.njit = lambda *functions, **options: plain(*functions, **{"cache": True, **options})

    import cv2
    import matplotlib.pyplot
    import scipy.sparse.linalg
    import torch

    import depthrf.cli
    import depthrf.nerf.training.loop
    import depthrf.stages.render

    assert all((cv2, matplotlib, numba, scipy, torch, depthrf))


def result(folder: Path) -> dict[str, str]:
    """Digests of all that a run makes, but for what tells its times: records, logs, reports."""
    root = folder / "ws"
    files = [
        path for name in _RESULTS for path in ([root / name] if (root / name).is_file() else (root / name).rglob("*"))
    ]
    found = {
        str(p.relative_to(root)): _digest(p.read_bytes()) for p in files if p.is_file() and p.name not in _OF_THE_RUN
    }
    if Workspace(root).checkpoint.is_file():
        checkpoint = read_torch_file(Workspace(root).checkpoint)
        found["nerf/checkpoint.pt"] = _digest_of_values({k: v for k, v in checkpoint.items() if k != "seconds"})
    return found


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _digest_of_values(value: Any) -> str:
    import torch

    if isinstance(value, dict):
        return _digest(repr([(key, _digest_of_values(value[key])) for key in value]).encode())
    return _digest(value.contiguous().numpy().tobytes() if isinstance(value, torch.Tensor) else repr(value).encode())


def photos_of(folder: Path) -> dict[str, tuple[str, int]]:
    """Content and time of every photo."""
    return {p.name: (_digest(p.read_bytes()), p.stat().st_mtime_ns) for p in sorted((folder / "photos").iterdir())}


def unreadable(folder: Path) -> list[str]:
    """What of the workspace cannot be read, in words; nothing after a fault."""
    workspace, problems = Workspace(folder / "ws"), []
    readers = [(workspace.record(stage), read_record) for stage in STAGES]
    readers += [(workspace.photos, read_photos), (workspace.transforms, load_views)]  # type: ignore[list-item]
    try:
        if workspace.manifest.is_file():
            open_workspace(workspace.root)
        for path, read in readers:
            if path.is_file():
                read(path)
    except DepthrfError as e:
        problems.append(str(e))
    return problems


def leftovers(folder: Path) -> list[str]:
    """Temporary files and what was moved aside."""
    names = (p for p in (folder / "ws").rglob("*") if p.name.startswith(".") and p.name != ".lock")
    return [str(p.relative_to(folder)) for p in (*names, *(folder / "ws").rglob("*.part"))]


def finished(folder: Path) -> set[str]:
    return {stage for stage in STAGES if Workspace(folder / "ws").record(stage).is_file()}
