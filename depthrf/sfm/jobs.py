"""What the parent asks the child process for, and what comes back. Plain picklable data; no pycolmap."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from depthrf.geometry.camera import SparseDepths, View
from depthrf.geometry.lens import Lens
from depthrf.sfm.diagnose import Dropped
from depthrf.sfm.selfcheck import Figures

Progress = Callable[[str, int, int], None]
"""Called as (what is being done, how many are done, of how many)."""


class Report(Protocol):
    """How the child tells its progress; called like :data:`Progress`."""

    def __call__(self, what: str, done: int, total: int) -> None: ...

    def watch(self, database: Path, table: str, what: str, total: int) -> AbstractContextManager[None]:
        """Lets the parent follow a growing table inside the block, where pycolmap has no callback."""


@dataclass(frozen=True)
class CameraGroup:
    """Photos of one camera. ``lens`` where it is given; ``focal_px`` where EXIF or the user tells a focal length."""

    names: tuple[str, ...]
    width: int
    height: int
    focal_px: float | None = None
    lens: Lens | None = None


@dataclass(frozen=True)
class Folders:
    """Where a job reads photos and writes: sfm work folder, undistorted photos, undistorted model, point cloud.

    masks: ``<name>.png`` of every photo, None without any; no keypoints are found where a mask is 0.
    """

    images: Path
    sfm: Path
    undistorted_images: Path
    undistorted_sparse: Path
    point_cloud: Path
    masks: Path | None = None


@dataclass(frozen=True)
class ReconstructJob:
    """Poses and points from photos alone.

    content: Hash of the photos' contents; becomes part of the database's name with everything that decides features.
    fix_focal: Keep the groups' focal_px whatever the photos say (the user gave it).
    """

    folders: Folders
    groups: tuple[CameraGroup, ...]
    content: str
    max_image_size: int
    seed: int
    threads: int
    min_photos: int
    fix_focal: bool = False


@dataclass(frozen=True)
class TriangulateJob:
    """Points for given poses, which stay as they are unless ``refine_poses``.

    poses: ``cam_from_world`` (4x4 nested tuples) by photo name; test: names that are undistorted but not matched;
    refine_intrinsics: adjust focal length and distortion to the photos; refine_poses: adjust the poses, where that fits
    better.
    """

    folders: Folders
    groups: tuple[CameraGroup, ...]
    poses: dict[str, tuple[tuple[float, ...], ...]]
    test: frozenset[str]
    content: str
    max_image_size: int
    seed: int
    threads: int
    refine_intrinsics: bool = False
    refine_poses: bool = False


@dataclass(frozen=True)
class MapperRun:
    """The figures of one mapper run, for the ledger. ``focal`` tells whether the focal length was free or fixed."""

    features: str
    mapper: str
    seed: int
    focal: str
    num_registered: int
    num_trusted: int
    consistency: float
    worst_consistency: float
    num_observations: int
    mean_reprojection_error_px: float
    focal_px: float
    seconds: float


@dataclass(frozen=True)
class Model:
    """Result of :class:`ReconstructJob` and :class:`TriangulateJob`; the files lie in the job's folders.

    views: Undistorted views, test ones included. consistency: The self-check's total share. total, photos: What it
    found of the whole model and of each photo; empty for given poses. poses_refined: Given poses were adjusted, and
    the adjusted ones are better.
    """

    views: list[View]
    test: frozenset[str]
    database: str
    features: str
    runs: list[MapperRun]
    dropped: list[Dropped]
    consistency: float
    num_points: int
    mean_reprojection_error_px: float
    median_points_per_photo: float
    focal_px: float
    poses_refined: bool = False
    total: Figures | None = None
    photos: dict[str, Figures] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class RegisterJob:
    """Poses of further photos in a finished model, which stays as it is.

    photos: Upright 8-bit photos with unique stems. features: Recipe name of ``database``. output: Folder for the
    undistorted photos. work: Folder for intermediate files, removed by the caller.
    """

    photos: tuple[Path, ...]
    model: Path
    database: Path
    features: str
    max_image_size: int
    output: Path
    work: Path
    seed: int
    threads: int


@dataclass(frozen=True)
class Registration:
    """Undistorted views of the photos that were placed, their 2D-3D inliers as depths by view name, and the rest."""

    views: list[View]
    depths: dict[str, SparseDepths]
    failed: list[Dropped]


Job = ReconstructJob | TriangulateJob | RegisterJob
Result = Model | Registration
