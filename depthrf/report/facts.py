"""What a report says, as plain values: the same facts become ``report.html`` and ``report.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from depthrf.io.depth.scale import SceneScale


@dataclass(frozen=True)
class Verdict:
    """``level`` is ``good``, ``partly`` or ``not``; ``sentences`` say what stands and what limits it."""

    level: str
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class SourceFile:
    """A file of the photo folder and its fate: used, converted, held_out or rejected."""

    source: str
    fate: str
    reason: str | None
    name: str | None
    """Its copy in ``images/``; None when it is not there."""


@dataclass(frozen=True)
class PhotoFacts:
    """A training photo in numbers; None where a stage has not measured it.

    Attributes:
        name: File name of the undistorted photo.
        grade: ``good``, ``fair`` or ``poor``, from the numbers below.
        problems: Why the grade is not ``good``.
        num_points: Sparse points that it sees.
        reprojection_px: Median reprojection error of these points, pixels.
        consistency: Share of its verified matches that agree with the model.
        coverage: Share of its pixels with a depth prior, by source.
        prior_error: Median ``|prior depth - keypoint depth| / keypoint depth`` at its keypoints.
        sigma: Median standard deviation of the prior, relative to its depth.
    """

    name: str
    grade: str
    problems: tuple[str, ...]
    num_points: int
    reprojection_px: float | None
    consistency: float | None
    coverage: dict[str, float]
    prior_error: float | None
    sigma: float | None


@dataclass(frozen=True)
class PairMatches:
    """Verified matches of two photos."""

    first: str
    second: str
    count: int


@dataclass(frozen=True)
class Sample:
    """One row of the training's record: PSNR of a batch in dB, and the weighted losses by name."""

    step: int
    seconds: float
    psnr: float
    losses: dict[str, float]


@dataclass(frozen=True)
class ViewScore:
    """Scores of one held-out view; None where they were not measured."""

    name: str
    psnr: float | None
    ssim: float | None
    lpips: float | None
    depth_abs_rel: float | None


@dataclass(frozen=True)
class StageCost:
    """What a stage took; ``peak_memory_mb`` None where it was not measured."""

    stage: str
    seconds: float
    device: str
    finished: str
    peak_memory_mb: float | None


@dataclass(frozen=True)
class UsedWeights:
    """Pretrained weights that the run used, with their licence."""

    title: str
    licence: str
    paper: str


@dataclass(frozen=True)
class Report:
    """A whole run.

    Attributes:
        scene: Name of the photo folder.
        verdict: What to think of the result.
        advice: What would improve it, the most useful first.
        warnings: What structure from motion warned of.
        noticed: What training recognised in the photos: a plain background, exposure that differs.
        split: How the held-out views were chosen; None where nothing was scored.
        mean: Mean scores of the held-out views by their names in ``evaluation.json``.
        scale: Metres per scene unit, with what says so.
        redo: The command that makes the same result from the same photos.
    """

    scene: str
    verdict: Verdict
    advice: tuple[str, ...]
    warnings: tuple[str, ...]
    files: tuple[SourceFile, ...]
    photos: tuple[PhotoFacts, ...]
    pairs: tuple[PairMatches, ...]
    training: tuple[Sample, ...]
    split: str | None
    mean: Mapping[str, float | None]
    views: tuple[ViewScore, ...]
    trust: tuple[tuple[float, float, float], ...]
    """For each frame of the film, the shares of its pixels that two photos or more, one photo, and no photo saw."""
    scale: SceneScale
    stages: tuple[StageCost, ...]
    weights: tuple[UsedWeights, ...]
    versions: dict[str, str]
    redo: str
    dropped: dict[str, str] = field(default_factory=dict)
    """Photos that could not be placed, with the reason."""
    noticed: tuple[str, ...] = ()
