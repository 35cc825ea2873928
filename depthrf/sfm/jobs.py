"""What the parent asks the child process for, and what comes back. Plain picklable data; no pycolmap."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from depthrf.geometry.camera import SparseDepths, View
from depthrf.geometry.lens import Lens
from depthrf.sfm.judging.diagnose import Dropped
from depthrf.sfm.judging.selfcheck import Agreement

Progress = Callable[[str, int, int], None]
"""Called as (what is being done, how many are done, of how many)."""


@dataclass(frozen=True)
class LearnedWeights:
    """Files with the weights of XFeat and of LighterGlue, and where to run them: ``auto``, ``cpu`` or ``cuda``."""

    xfeat: Path
    lighterglue: Path
    device: str = "auto"


FindWeights = Callable[[], LearnedWeights | None]
"""Gives the weights, fetched where need be; None where they cannot be had."""


class Reporter(Protocol):
    """How the child tells its progress, called like :data:`Progress`, and asks for what only the parent can get."""

    def __call__(self, what: str, done: int, total: int) -> None: ...

    def watch(self, database: Path, table: str, what: str, total: int) -> AbstractContextManager[None]:
        """Lets the parent follow a growing table inside the block, where pycolmap has no callback."""

    def learned_weights(self) -> LearnedWeights | None:
        """Asks the parent for the networks' weights; None where they cannot be had. Answered once."""


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
    """Where a job reads photos, and where it writes.

    masks: ``<name>.png`` of every photo; no keypoints are found where a mask is 0. None: there are no masks.
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

    poses: ``cam_from_world`` (4x4 nested tuples) by photo name. test: Photos that are undistorted but not matched.
    refine_intrinsics: Adjust focal length and distortion to the photos. refine_poses: Adjust the poses, if that fits
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
    """Measurements of one mapper run, for the ledger.

    mapper: Its name; "matching" where an error ended the matching before any mapper ran. focal: Whether the focal
    length was "free" or "fixed". error: What ended the run without a model; its measurements are 0 then.
    """

    features: str
    mapper: str
    seed: int
    focal: str
    seconds: float
    num_registered: int = 0
    num_trusted: int = 0
    consistency: float = 0.0
    worst_consistency: float = 0.0
    num_observations: int = 0
    mean_reprojection_error_px: float = 0.0
    focal_px: float = 0.0
    error: str = ""


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
    total: Agreement | None = None
    photos: dict[str, Agreement] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class RegisterJob:
    """Poses of further photos in a finished model, which stays as it is.

    photos: Upright 8-bit photos with unique stems. features: Recipe name of ``database``. output: Folder for the
    undistorted photos. work: Folder for intermediate files, removed by the caller. masks: ``<name>.png`` of every
    photo, as in :class:`Folders`; None: there are no masks. poses: ``cam_from_world`` (4x4 nested tuples) by the name
    of photos that were placed by other means.
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
    masks: Path | None = None
    poses: Mapping[str, tuple[tuple[float, ...], ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class ExtendJob:
    """Further photos as a part of a finished model, whose poses and lenses stay as they are.

    placing: Which photos, and the model. folders: Where the model's photos are, and where to write the larger model
    with the undistorted photos of the new ones. database: File to write, with the matches of the larger model.
    """

    placing: RegisterJob
    folders: Folders
    database: Path


@dataclass(frozen=True)
class TrialJob:
    """How long the parts of structure from motion take here, tried on a photo or two.

    images, group: The photos. work: Folder for intermediate files, removed by the caller.
    """

    images: Path
    group: CameraGroup
    work: Path
    max_image_size: int
    seed: int
    threads: int


@dataclass(frozen=True)
class Extension:
    """The larger model, the names of the photos that are new in it, and those that are not in it.

    model: None where no photo could be placed. Its ``views`` are those of all its photos.
    """

    model: Model | None
    placed: tuple[str, ...]
    failed: list[Dropped]


@dataclass(frozen=True)
class Registration:
    """Undistorted views of the photos that were placed, their 2D-3D inliers as depths by view name, and the rest."""

    views: list[View]
    depths: dict[str, SparseDepths]
    failed: list[Dropped]


@dataclass(frozen=True)
class Trials:
    """CPU seconds of one photo's keypoints, of one pair's matches, and of a mapper run on :data:`TRIAL_PHOTOS` made-up
    photos of :data:`TRIAL_POINTS` points. keypoints: Of a photo, on average."""

    extraction: float
    matching: float
    mapping: float
    keypoints: float


TRIAL_PHOTOS, TRIAL_POINTS = 8, 600

Job = ReconstructJob | TriangulateJob | RegisterJob | ExtendJob | TrialJob
Result = Model | Registration | Extension | Trials
