"""The JSON files beside the depth maps of a workspace: which network, which fits, how much of each photo is covered.

One dataclass a file. ``write_json`` writes it, ``read_typed`` reads it back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from depthrf.storage import read_typed


@dataclass(frozen=True)
class MonoMeta:
    """``depth/mono/meta.json``: what the monocular depth maps are.

    Attributes:
        network: Name of the network, or ``precomputed`` for the user's own maps.
        kind: ``depth``, ``inverse_depth``, ``metric``, or ``unknown`` where only the user could tell.
        weights: SHA-256 of the network's weights; None for the user's own maps.
        tiles, precision: As the depth stage's options have them.
        photos: Stem to the fingerprint of the photo, or of the user's map, that the map was made from.
    """

    network: str
    kind: str
    weights: str | None = None
    tiles: int = 1
    precision: str = "auto"
    photos: Mapping[str, str] = field(default_factory=dict)


def read_mono_meta(path: Path) -> MonoMeta | None:
    """What the maps are; None where there is no monocular depth.

    Raises:
        DepthrfError: The file is damaged.
    """
    return read_typed(path, MonoMeta) if path.is_file() else None


@dataclass(frozen=True)
class AlignedPhoto:
    """How one photo's map was fitted to its keypoints; see :class:`depthrf.depth.aligning.photo.PhotoAlignment`.

    Attributes:
        scale, shift: Of the fit, where there is one.
        correction: Length and deviation of the smooth correction over the photo; None without one.
        noise: Of the network, by name of its parameter; None without a fit.
    """

    kind: str
    grade: str
    accepted: bool
    reason: str
    num_used: int
    num_stereo: int
    num_agreeing: int
    num_borrowed: int
    median_rel_residual: float | None
    typical_sigma: float | None
    scale: float | None = None
    shift: float | None = None
    correction: Mapping[str, float] | None = None
    noise: Mapping[str, float] | None = None


@dataclass(frozen=True)
class AlignedReport:
    """``depth/aligned/report.json``: the kind of depth that fits best, and each photo's fit by stem."""

    kind: str | None
    photos: Mapping[str, AlignedPhoto] = field(default_factory=dict)

    def kind_of(self, stem: str) -> str:
        """The kind of depth that was settled on for a photo that has aligned depth."""
        return self.photos[stem].kind


@dataclass(frozen=True)
class StereoReport:
    """``depth/stereo/report.json``.

    Attributes:
        num_keypoints: Keypoints that have stereo depth.
        median_ratio: Of stereo depth to keypoint depth; None without keypoints.
        sigma_factor: By which the standard deviation was multiplied to fit the keypoints.
        coverage: Stem to share of pixels with depth.
    """

    num_keypoints: int
    median_ratio: float | None
    sigma_factor: float
    coverage: Mapping[str, float]


@dataclass(frozen=True)
class SensorUnit:
    """Metres per scene unit by which sensor depth was merged, and how it was found.

    Attributes:
        metres_per_unit: None where it is not known.
        method: In words.
        estimated: Metres per scene unit by the sensor; differs where given poses are taken as metric.
        relative_deviation: Robust relative standard deviation of single ratios of sensor to keypoint depth.
        uncertainty: Relative standard deviation of ``estimated``.
        num_keypoints, num_photos: What it rests on.
        contradicting: Stems of photos whose sensor depth is of another scale and is not used.
    """

    metres_per_unit: float | None
    method: str
    estimated: float | None = None
    relative_deviation: float | None = None
    uncertainty: float | None = None
    num_keypoints: int = 0
    num_photos: int = 0
    contradicting: tuple[str, ...] = ()


@dataclass(frozen=True)
class PriorPhoto:
    """Which sources one photo's prior has, what its monocular depth was fitted to, and share of pixels by source."""

    sensor: bool
    mono: bool
    mono_fitted_to: str | None
    stereo: bool
    coverage: Mapping[str, float] = field(default_factory=dict)

    @property
    def stereo_only(self) -> bool:
        """Whether stereo is the photo's only dense depth."""
        return self.stereo and not self.sensor and not self.mono


@dataclass(frozen=True)
class PriorReport:
    """``depth/prior/report.json``: the sensor's unit, and what each photo's prior is made of, by stem."""

    sensor: SensorUnit = field(default_factory=lambda: SensorUnit(None, "no sensor depth"))
    photos: Mapping[str, PriorPhoto] = field(default_factory=dict)


def read_prior_report(path: Path) -> PriorReport | None:
    """What ``merge`` wrote; None where it has not run.

    Raises:
        DepthrfError: The file is damaged.
    """
    return read_typed(path, PriorReport) if path.is_file() else None
