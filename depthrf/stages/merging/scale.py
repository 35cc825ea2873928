"""Decides the scene's scale: metres per scene unit from sensor depth, metric poses, and lengths the user knows."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from depthrf import console
from depthrf.io.depth.reports import SensorUnit
from depthrf.io.depth.scale import ScaleSource, SceneScale
from depthrf.stages.measuring.given import KnownDistance, KnownLength, parse_distance, parse_length
from depthrf.stages.merging.sensor_unit import BY_POSES
from depthrf.workspace import Workspace

if TYPE_CHECKING:
    from depthrf.geometry.camera import SparseScene, View
    from depthrf.geometry.lengths import Length

# Relative standard deviation that metric poses are given credit for where no sensor checks them.
_METRIC_POSES = 0.01
# Standard deviations beyond which two answers contradict each other.
_CONTRADICTION = 3.0


@dataclass(frozen=True)
class Known:
    """What the user measured."""

    lengths: tuple[KnownLength, ...]
    distances: tuple[KnownDistance, ...]


def parse_known(lengths: tuple[str, ...], distances: tuple[str, ...]) -> Known:
    """Reads the options.

    Raises:
        UsageError: One is not as it should be.
    """
    return Known(tuple(map(parse_length, lengths)), tuple(map(parse_distance, distances)))


def settle_scale(workspace: Workspace, scene: SparseScene, sensor: SensorUnit, known: Known) -> SceneScale:
    """The scene's scale from all that is known, said on the console.

    Args:
        workspace: In which the prior depth is written.
        scene: The undistorted photos with their keypoints.
        sensor: What sensor depth and metric poses say.
        known: What the user measured, which decides where it contradicts them.

    Raises:
        UsageError: A known length names a photo or a point that cannot be measured.
    """
    base = _of_sensor(sensor)
    scale = decide(base, _measured(workspace, scene, known))
    if scale.disagreement is not None:
        console.warn(scale.disagreement)
    if scale.metres_per_unit is not None:
        used = "; ".join(source.what for source in scale.sources if source.used)
        console.note(f"  one scene unit is {scale.metres_per_unit:.4g} m ± {scale.deviation:.2g} m ({used})")
    return scale


def decide(base: ScaleSource | None, known: list[ScaleSource]) -> SceneScale:
    """One scale from what sensor and poses say and from what the user knows.

    Answers that agree are averaged by their variances. Where they do not, the user's lengths decide. Where those do
    not agree with one another, their mean's deviation grows accordingly, and it is said.

    Args:
        base: By sensor depth or metric poses; None without.
        known: By the user's lengths and distances.
    """
    from depthrf.geometry.lengths import weighted_mean

    if not known:
        if base is None:
            return SceneScale()
        return SceneScale(base.metres_per_unit, base.deviation, (base,))
    mean = weighted_mean([k.metres_per_unit for k in known], [k.deviation for k in known])
    disagreement = None
    if mean.spread > _CONTRADICTION:
        answers = ", ".join(f"{k.metres_per_unit:.4g} m by {k.what}" for k in known)
        disagreement = f"known lengths contradict one another about the length of a scene unit: {answers}."
    if base is not None:
        apart = math.log(base.metres_per_unit / mean.value)
        expected = math.hypot(base.deviation / base.metres_per_unit, mean.deviation / mean.value)
        if abs(apart) <= _CONTRADICTION * expected:
            every = [base, *known]
            mean = weighted_mean([k.metres_per_unit for k in every], [k.deviation for k in every])
        else:
            base = replace(base, used=False)
            clash = (
                f"a scene unit is {mean.value:.4g} m by known lengths, but {base.metres_per_unit:.4g} m by {base.what} "
                f"({math.expm1(abs(apart)):.0%} apart). The known lengths are used: check their points and units."
            )
            disagreement = clash if disagreement is None else f"{disagreement} Besides, {clash}"
    return SceneScale(mean.value, mean.deviation, (*((base,) if base else ()), *known), disagreement)


def _of_sensor(sensor: SensorUnit) -> ScaleSource | None:
    unit = sensor.metres_per_unit
    if unit is None:
        return None
    if sensor.method == BY_POSES:
        return ScaleSource("poses given in metres", unit, _METRIC_POSES * unit)
    what = f"sensor depth at {sensor.num_keypoints} keypoints of {sensor.num_photos} photos"
    return ScaleSource(what, unit, (sensor.uncertainty or 0.0) * unit)


def _measured(workspace: Workspace, scene: SparseScene, known: Known) -> list[ScaleSource]:
    from depthrf.stages.measuring.photos import open_photos

    if not known.lengths and not known.distances:
        return []
    photos, sources = open_photos(workspace), []
    for length in known.lengths:
        sources.append(_source(length, photos.length(length.photo, length.points)))
    for distance in known.distances:
        sources.append(_source(distance, _between(*photos.pair(distance.photos), scene, distance.text)))
    return sources


def _source(known: KnownLength | KnownDistance, found: Length) -> ScaleSource:
    unit = known.metres / found.value
    relative = math.hypot(known.deviation / known.metres, found.deviation / found.value)
    return ScaleSource(known.text, unit, relative * unit)


def _between(first: View, second: View, scene: SparseScene, text: str) -> Length:
    """The distance of two cameras. A camera's centre is taken to be known as well as one keypoint tells it.

    Errors of poses are shared by neighbouring photos and are not averaged out by the number of keypoints.
    """
    import numpy as np

    from depthrf.errors import UsageError
    from depthrf.geometry.lengths import Length

    value = float(np.linalg.norm(first.centre - second.centre))
    if value == 0.0:
        raise UsageError(f"The cameras of a known distance should differ; found {text!r}")
    errors = [0.0]
    for view in (first, second):
        sparse = scene.depths[view.name]
        if len(sparse.depth):
            errors.append(float(np.median(sparse.depth * sparse.error_px)) / view.camera.fx)
    return Length(value, float(np.linalg.norm(errors)))
