"""The workspace folder: every artefact's path, stage records, freshness and atomic writes.

Other tools read these files, so names and places are a contract (README, "Workspace"). Nothing is written outside the
workspace except the weights cache.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from depthrf import __version__
from depthrf.errors import DepthrfError, UsageError

SCHEMA_VERSION = 1
_SETTLED_NS = 2 * 10**9


@dataclass(frozen=True)
class Workspace:
    """Paths of all artefacts below ``root``. ``stem`` is a photo's file name without its ending; stems are unique."""

    root: Path

    # ingest
    @property
    def manifest(self) -> Path:
        return self.root / "workspace.json"

    @property
    def images(self) -> Path:
        """Upright 8-bit RGB photos."""
        return self.root / "images"

    @property
    def held_out(self) -> Path:
        """Upright photos that only ``evaluate`` reads; absent where none were set aside."""
        return self.root / "held_out"

    @property
    def photos(self) -> Path:
        """Every file of the photo folder with its fate, size and EXIF focal length (``stages/ingest.py``)."""
        return self.root / "photos.json"

    @property
    def sensor_depth(self) -> Path:
        """Optional ``<stem>.png``: uint16 millimetres, 0 = missing."""
        return self.root / "sensor_depth"

    @property
    def sensor_confidence(self) -> Path:
        """Optional ``<stem>.png``: 1 medium, 2 high confidence, where some pixels are medium (low ones are dropped)."""
        return self.root / "sensor_confidence"

    @property
    def sensor_cameras(self) -> Path:
        """Optional: the depth cameras' own intrinsics by stem, where a map does not cover its photo's field of view."""
        return self.root / "sensor_cameras.json"

    @property
    def given_poses(self) -> Path:
        """Optional transforms.json of the poses that came with the photos, for ``images/``."""
        return self.root / "given_poses.json"

    @property
    def masks(self) -> Path:
        """Optional ``<name>.png`` of every photo, upright and of its size: 0 is ignored, 255 used."""
        return self.root / "masks"

    # sfm
    @property
    def sfm(self) -> Path:
        return self.root / "sfm"

    @property
    def undistorted_images(self) -> Path:
        return self.root / "undistorted" / "images"

    @property
    def undistorted_masks(self) -> Path:
        """Where there are masks: ``<name>.png`` of every undistorted photo."""
        return self.root / "undistorted" / "masks"

    @property
    def undistorted_sparse(self) -> Path:
        """COLMAP model (binary) of PINHOLE cameras; training photos only."""
        return self.root / "undistorted" / "sparse"

    @property
    def transforms(self) -> Path:
        """nerfstudio-compatible export of all undistorted views, with ``train_filenames`` and ``test_filenames``."""
        return self.root / "transforms.json"

    @property
    def sparse_point_cloud(self) -> Path:
        return self.root / "sparse_pc.ply"

    # depth
    @property
    def mono_depth(self) -> Path:
        """``<stem>.npy``: the network's raw output, float32 (H, W) of the undistorted photo."""
        return self.root / "depth" / "mono"

    @property
    def aligned_depth(self) -> Path:
        """``<stem>.npy``: z-depth in scene units, 0 = invalid."""
        return self.root / "depth" / "aligned"

    @property
    def stereo_depth(self) -> Path:
        """``<stem>.npz`` as in ``prior_depth``, at the size the photos were matched at."""
        return self.root / "depth" / "stereo"

    @property
    def prior_depth(self) -> Path:
        """``<stem>.npz`` with ``depth``, ``sigma`` (both float32 (H, W), scene units, 0 = no prior) and ``source``."""
        return self.root / "depth" / "prior"

    # nerf
    @property
    def nerf(self) -> Path:
        return self.root / "nerf"

    @property
    def checkpoint(self) -> Path:
        return self.nerf / "checkpoint.pt"

    @property
    def metrics(self) -> Path:
        return self.nerf / "metrics.jsonl"

    @property
    def previews(self) -> Path:
        """``step_<step>.png``: photo, rendering and depth of one view as training goes on."""
        return self.nerf / "val"

    # render, evaluate
    @property
    def render(self) -> Path:
        return self.root / "render"

    @property
    def video(self) -> Path:
        return self.render / "video.mp4"

    @property
    def depth_video(self) -> Path:
        return self.render / "depth.mp4"

    @property
    def evaluation(self) -> Path:
        return self.root / "evaluation.json"

    @property
    def evaluation_dir(self) -> Path:
        return self.root / "evaluation"

    @property
    def records(self) -> Path:
        return self.root / "records"

    def record(self, stage: str) -> Path:
        return self.records / f"{stage}.json"

    def relative(self, path: Path) -> str:
        """``path`` as written in records: relative to the workspace where it lies inside, absolute elsewhere."""
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path.absolute())


def create_workspace(root: Path, photos: Path) -> Workspace:
    """Makes ``root`` a workspace for the photo folder ``photos``, or opens it when it already is one.

    Raises:
        UsageError: ``root`` cannot be written, holds something else, or belongs to another photo folder.
    """
    workspace = Workspace(root.absolute())
    if workspace.manifest.exists():
        found = read_json(workspace.manifest)
        if Path(found.get("photos", "")).resolve() != photos.resolve():
            raise UsageError(
                f"{root} is the workspace of {found.get('photos')}, not of {photos.absolute()}. "
                "Give another folder with -o."
            )
        return open_workspace(root)
    lost = workspace.record("ingest").is_file()  # a workspace whose manifest was damaged and removed
    if not lost and root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UsageError(f"{root} already exists and is not a depthrf workspace. Give a new or empty folder with -o.")
    try:
        root.mkdir(parents=True, exist_ok=True)
        write_json(
            workspace.manifest,
            {"schema": SCHEMA_VERSION, "photos": str(photos.absolute()), "depthrf": __version__},
        )
    except OSError as e:
        raise UsageError(f"Cannot write the output folder {root}: {e.strerror}. Choose another one with -o.") from e
    return workspace


def open_workspace(root: Path) -> Workspace:
    """Opens an existing workspace.

    Raises:
        UsageError: ``root`` is not a workspace, is of another schema version, or cannot be written.
    """
    workspace = Workspace(root.absolute())
    if not workspace.manifest.is_file():
        raise UsageError(
            f"{root} is not a depthrf workspace (no workspace.json). Start with: depthrf ingest PHOTOS -o {root}"
        )
    schema = read_json(workspace.manifest).get("schema")
    if schema != SCHEMA_VERSION:
        raise UsageError(
            f"{root} has workspace schema {schema}; this depthrf reads {SCHEMA_VERSION}. Use a new folder."
        )
    if not os.access(root, os.W_OK):
        raise UsageError(f"Cannot write the output folder {root}: permission denied. Choose another one with -o.")
    return workspace


@contextlib.contextmanager
def lock(workspace: Workspace) -> Iterator[None]:
    """Holds the workspace for one writing process; a second one gets a message instead of a damaged file."""
    try:
        import fcntl
    except ImportError:  # no advisory locks on this platform
        yield
        return
    with open(workspace.root / ".lock", "w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DepthrfError(
                f"Another depthrf process is working in {workspace.root}. Wait for it or stop it."
            ) from None
        yield


# Atomic files


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside ``path`` with the same ending; renamed onto ``path`` when the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_open(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Opens a temporary file beside ``path``; synced and renamed onto ``path`` when the block succeeds."""
    with atomic_path(path) as temporary, open(temporary, mode, encoding=None if "b" in mode else "utf-8") as handle:
        yield handle
        handle.flush()
        os.fsync(handle.fileno())


def fresh_dir(path: Path) -> Path:
    """``path`` as an empty folder; what an earlier run of the same stage left there is removed."""
    remove(path)
    path.mkdir(parents=True)
    return path


def remove(path: Path) -> None:
    """Removes a folder of results where it exists."""
    if path.exists():
        shutil.rmtree(path)


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        DepthrfError: The file is damaged.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as e:
        raise DepthrfError(f"{path} is damaged ({e}). Remove it and run the command again.") from e
    if not isinstance(value, dict):
        raise DepthrfError(f"{path} should hold a JSON object. Remove it and run the command again.")
    return value


def write_json(path: Path, value: Any) -> None:
    """Writes JSON atomically; dataclasses, paths and numpy scalars are converted, non-finite numbers become null."""
    with atomic_open(path) as handle:
        json.dump(_jsonable(value), handle, indent=1, ensure_ascii=False)
        handle.write("\n")


def _jsonable(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _jsonable(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(k): _jsonable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(v) for v in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return _jsonable(value.tolist())
    if isinstance(value, float) and value - value != 0:  # nan and inf are not JSON
        return None
    return value


# Freshness


def fingerprint(path: Path) -> str:
    """SHA-256 of a file, or of a folder's file names and contents; ``absent`` where there is nothing."""
    if path.is_dir():
        digest = hashlib.sha256()
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            digest.update(f"{file.relative_to(path).as_posix()}={fingerprint(file)}\n".encode())
        return digest.hexdigest()
    if not path.exists():
        return "absent"
    stat = path.stat()
    # A file changed a moment ago may change again within the tick of the clock that its time shows: read it anew.
    settled = time.time_ns() - stat.st_mtime_ns > _SETTLED_NS
    read = _digest if settled else _digest.__wrapped__
    return read(path, stat.st_ino, stat.st_size, stat.st_mtime_ns)


@functools.cache
def _digest(path: Path, inode: int, size: int, modified_ns: int) -> str:
    """Content hash of a file, remembered while the file is the same, as stages hash what the one before wrote."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def fingerprints(workspace: Workspace, paths: Iterable[Path]) -> dict[str, str]:
    """Fingerprints of files and folders, keyed by the path as records write it."""
    return {workspace.relative(path): fingerprint(path) for path in paths}
