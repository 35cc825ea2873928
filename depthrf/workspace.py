"""The workspace folder: the path of every file in it, making and opening it, one writer at a time.

Other tools read these files, so names and places are a contract (README, "Workspace"). Nothing is written outside the
workspace except the weights cache.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from depthrf import __version__
from depthrf.errors import DepthrfError, UsageError
from depthrf.storage import file_lock, fingerprint, link_leading_out, read_typed, remove_abandoned, write_json

SCHEMA_VERSION = 1
_CREATION_S = 10.0


@dataclass(frozen=True)
class Manifest:
    """``workspace.json``: its format, the photo folder, the depthrf that made it, and the option tables planned."""

    schema: int
    photos: str
    depthrf: str
    options: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Workspace:
    """Paths of all artefacts below ``root``. ``stem`` is a photo's file name without its ending; stems are unique."""

    root: Path

    # ingest
    @property
    def manifest(self) -> Path:
        return self.root / "workspace.json"

    @property
    def lock(self) -> Path:
        """Locked while a process writes."""
        return self.root / ".lock"

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
    def sfm_model(self) -> Path:
        """COLMAP model (binary) of the photos as they were taken, with their lenses."""
        return self.sfm / "sparse" / "0"

    @property
    def pose_origin(self) -> Path:
        """Whether the model's poses are estimated, given or refined."""
        return self.sfm / "poses.json"

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
    def mono_meta(self) -> Path:
        """Which network made ``mono_depth``, or that the maps were given, and what kind of depth they hold."""
        return self.mono_depth / "meta.json"

    @property
    def aligned_depth(self) -> Path:
        """``<stem>.npy``: z-depth in scene units, 0 = invalid."""
        return self.root / "depth" / "aligned"

    @property
    def aligned_report(self) -> Path:
        """The kind of depth, and each photo's fit."""
        return self.aligned_depth / "report.json"

    @property
    def stereo_depth(self) -> Path:
        """``<stem>.npz`` as in ``prior_depth``, at the size the photos were matched at."""
        return self.root / "depth" / "stereo"

    @property
    def stereo_report(self) -> Path:
        """What each photo was matched with and how much of it was kept."""
        return self.stereo_depth / "report.json"

    @property
    def prior_depth(self) -> Path:
        """``<stem>.npz`` with ``depth``, ``sigma`` (both float32 (H, W), scene units, 0 = no prior) and ``source``."""
        return self.root / "depth" / "prior"

    @property
    def prior_report(self) -> Path:
        """The unit in which sensor depth was merged, and each photo's coverage by source."""
        return self.prior_depth / "report.json"

    @property
    def scale(self) -> Path:
        """``metres_per_unit`` with its standard deviation and what says so."""
        return self.root / "depth" / "scale.json"

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
    def exposure(self) -> Path:
        """Each training photo's exposure relative to their mean."""
        return self.nerf / "exposure.json"

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


def default_root(photos: Path) -> Path:
    """The workspace's folder when none is named: PHOTOS-depthrf in the current folder."""
    resolved = photos.absolute().resolve()
    return Path(f"{resolved.name if resolved.is_dir() else resolved.stem}-depthrf")


def create_workspace(root: Path, photos: Path) -> Workspace:
    """Makes ``root`` a workspace for the photo folder ``photos``, or opens it when it already is one.

    Raises:
        UsageError: ``root`` cannot be written, holds something else, or belongs to another photo folder.
    """
    workspace = Workspace(root.absolute())
    try:
        if not _is_begun(workspace):
            root.mkdir(parents=True, exist_ok=True)
        # Of several runs started at once, one writes the manifest; the others wait for it.
        with file_lock(workspace.lock, wait_s=_CREATION_S):
            if not workspace.manifest.exists():
                write_json(workspace.manifest, Manifest(SCHEMA_VERSION, str(photos.absolute()), __version__))
    except BlockingIOError:
        raise _is_busy(workspace) from None
    except OSError as e:
        raise UsageError(f"Cannot write the output folder {root}: {e.strerror}. Choose another one with -o.") from e
    found = read_typed(workspace.manifest, Manifest)
    if Path(found.photos).resolve() != photos.resolve():
        raise UsageError(
            f"{root} is the workspace of {found.photos}, not of {photos.absolute()}. Give another folder with -o."
        )
    return open_workspace(root)


def _is_begun(workspace: Workspace) -> bool:
    """Whether the folder is a workspace, or one that another process is just making.

    Raises:
        UsageError: It holds something else.
        OSError: It cannot be read, or its name is too long.
    """
    root = workspace.root
    # A damaged manifest that was removed leaves the record; a manifest that is being written, the lock.
    if any(path.is_file() for path in (workspace.manifest, workspace.record("ingest"), workspace.lock)):
        return True
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UsageError(f"{root} already exists and is not a depthrf workspace. Give a new or empty folder with -o.")
    return False


def open_workspace(root: Path) -> Workspace:
    """Opens an existing workspace.

    Raises:
        UsageError: ``root`` is not a workspace, is of another schema version, cannot be written, or holds a symbolic
            link that leads out of it.
        DepthrfError: ``workspace.json`` is damaged.
    """
    workspace = Workspace(root.absolute())
    try:
        there = workspace.manifest.is_file()
    except OSError as e:  # a name too long
        raise UsageError(f"Cannot open the workspace {root}: {e.strerror}.") from e
    if not there:
        raise UsageError(
            f"{root} is not a depthrf workspace (no workspace.json). Start with: depthrf ingest PHOTOS -o {root}"
        )
    if (link := link_leading_out(workspace.root)) is not None:
        raise UsageError(
            f"{link} is a symbolic link to {os.path.realpath(link)}, outside the workspace, where depthrf would delete "
            "and overwrite files. Remove the link."
        )
    schema = read_typed(workspace.manifest, Manifest).schema
    if schema != SCHEMA_VERSION:
        raise UsageError(
            f"{root} has workspace schema {schema}; this depthrf reads {SCHEMA_VERSION}. Use a new folder."
        )
    if not os.access(root, os.W_OK):
        raise UsageError(f"Cannot write the output folder {root}: permission denied. Choose another one with -o.")
    return workspace


@contextlib.contextmanager
def lock(workspace: Workspace) -> Iterator[None]:
    """Holds the workspace for one writing process; a second one gets a message instead of a damaged file.

    What killed processes left behind is removed.
    """
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(file_lock(workspace.lock))
        except BlockingIOError:
            raise _is_busy(workspace) from None
        remove_abandoned(workspace.root)
        yield


def _is_busy(workspace: Workspace) -> DepthrfError:
    return DepthrfError(f"Another depthrf process is working in {workspace.root}. Wait for it or stop it.")


def fingerprints(workspace: Workspace, paths: Iterable[Path]) -> dict[str, str]:
    """Fingerprints of files and folders, keyed by the path as records write it."""
    return {workspace.relative(path): fingerprint(path) for path in paths}
