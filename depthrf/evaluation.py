"""``evaluation.json``: the scores of each held-out view, their means and their deviations."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from depthrf.storage import read_typed, write_json

COLOUR_SCORES = ("psnr", "psnr_exposure_fit", "ssim", "lpips")
DEPTH_SCORES = ("depth_abs_rel", "depth_rmse", "depth_median_abs_error", "depth_delta1", "depth_coverage")


@dataclass(frozen=True)
class ViewScores:
    """Scores of one view, as :mod:`depthrf.nerf.scores.metrics` defines them.

    ``lpips`` is None where it was not measured, depth scores where the view has no reference depth.
    """

    name: str
    psnr: float | None
    psnr_exposure_fit: float | None
    ssim: float | None
    lpips: float | None = None
    depth_abs_rel: float | None = None
    depth_rmse: float | None = None
    depth_median_abs_error: float | None = None
    depth_delta1: float | None = None
    depth_coverage: float | None = None

    def of(self, score: str) -> float | None:
        """The score of that name."""
        value: float | None = getattr(self, score)
        return value


@dataclass(frozen=True)
class Deviation:
    """Standard deviation of the sample, smallest and largest value of a score over the views."""

    std: float
    min: float
    max: float


@dataclass(frozen=True)
class Unplaced:
    """A held-out photo that could not be registered to the model, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Evaluation:
    """What ``evaluate`` measured.

    Attributes:
        split: Where the held-out views come from: ``test_filenames``, ``holdout``, ``photos`` or ``leave_one_out``.
        width, height: Of the first view as rendered, pixels.
        mean: Mean of each score over the views that have it; depth scores only where a view has one.
        spread: Deviation of each score, over two views or more.
        lpips_network: None where LPIPS was not measured.
        depth_reference: ``sensor`` or ``sfm_keypoints``; None without reference depth.
        not_registered: Held-out photos without a pose.
        views: One entry a view.
    """

    split: str
    num_views: int
    width: int
    height: int
    mean: Mapping[str, float | None]
    spread: Mapping[str, Deviation]
    lpips_network: str | None
    depth_reference: str | None
    not_registered: tuple[Unplaced, ...]
    device: str
    views: tuple[ViewScores, ...] = field(default_factory=tuple)


def write_evaluation(path: Path, evaluation: Evaluation) -> None:
    """Writes the file; depth scores that a view does not have are left out."""
    write_json(path, {**asdict(evaluation), "views": [as_row(view) for view in evaluation.views]})


def as_row(view: ViewScores) -> dict[str, Any]:
    """A view's scores as the file has them."""
    return {name: value for name, value in asdict(view).items() if value is not None or name not in DEPTH_SCORES}


def read_evaluation(path: Path) -> Evaluation | None:
    """What ``evaluate`` wrote; None where it has not run.

    Raises:
        DepthrfError: The file is damaged.
    """
    return read_typed(path, Evaluation) if path.is_file() else None


def mean_scores(views: Sequence[ViewScores]) -> dict[str, float | None]:
    """Mean of each score over the views that have it; None for a colour score that none has."""
    mean: dict[str, float | None] = {}
    for name in (*COLOUR_SCORES, *DEPTH_SCORES):
        values = _values(views, name)
        if values or name in COLOUR_SCORES:
            mean[name] = math.fsum(values) / len(values) if values else None
    return mean


def deviations(views: Sequence[ViewScores]) -> dict[str, Deviation]:
    """How far each score varies, where at least two views have it."""
    found = {}
    for name in (*COLOUR_SCORES, *DEPTH_SCORES):
        values = _values(views, name)
        if len(values) > 1:
            found[name] = Deviation(statistics.stdev(values), min(values), max(values))
    return found


def _values(views: Sequence[ViewScores], name: str) -> list[float]:
    return [value for view in views if (value := view.of(name)) is not None]
