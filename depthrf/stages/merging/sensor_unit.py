"""Metres per scene unit by sensor depth, and photos whose sensor depth is of another scale than the others'."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from depthrf import console
from depthrf.io.depth.reports import SensorUnit
from depthrf.io.depth.sensor_maps import MIN_DEPTH_M
from depthrf.io.poses.origin import read_pose_origin
from depthrf.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from depthrf.depth.sensor import SensorRange, SensorScale
    from depthrf.geometry.camera import SparseDepths, SparseScene

# Given poses are taken as metric when the keypoints say so to this accuracy; else the sensor's scale is used.
_METRIC_TOLERANCE = 0.15
_CHECK_MAPS = "Check that these depth maps belong to these photos."
# Methods.
BY_KEYPOINTS, BY_POSES = "keypoints against the sensor", "given poses taken as metric"


def settle_sensor_unit(
    workspace: Workspace, scene: SparseScene, sensors: Mapping[str, NDArray[np.float32]], *, max_keypoint_sigma: float
) -> SensorUnit:
    """The unit in which sensor depth is merged: from its depth at keypoints, or that of given poses.

    Args:
        workspace: Knows where the poses came from.
        scene: The undistorted photos with their keypoints.
        sensors: By stem, sensor depth (H, W) in metres.
        max_keypoint_sigma: Keypoints less sure than this share of their depth are left out.
    """
    from depthrf.depth.sensor import follows_scene, sensor_scale

    if not sensors:
        return SensorUnit(None, "no sensor depth")
    pairs = {
        view.stem: _keypoint_pairs(scene.depths[view.name], sensors[view.stem], max_keypoint_sigma)
        for view in scene.views
        if view.stem in sensors
    }
    astray = [stem for stem, pair in pairs.items() if not follows_scene(*pair)]
    if len(astray) == len(pairs):
        console.warn(
            "the sensor depth does not follow the scene: it varies no more like the depth of the keypoints than one "
            f"value everywhere would. Going on without the sensor. {_CHECK_MAPS}"
        )
        return SensorUnit(None, "sensor depth that does not follow the scene", contradicting=tuple(astray))
    stems = [stem for stem in pairs if stem not in astray]
    estimate = sensor_scale([pairs[stem] for stem in stems])
    contradicting = (*astray, *(stems[i] for i in (estimate.contradicting if estimate else ())))
    if contradicting:
        console.warn(
            f"the sensor depth of {', '.join(contradicting)} does not fit the scene as that of the other photos does, "
            f"and is left out. {_CHECK_MAPS}"
        )
    poses = read_pose_origin(workspace.pose_origin)
    near_metres = estimate is None or abs(estimate.metres_per_unit - 1.0) <= _METRIC_TOLERANCE
    # Refinement keeps the scale on average, so it is known less well than from many keypoints.
    if (poses == "given" and near_metres) or (poses == "refined" and estimate is None):
        return _unit(1.0, BY_POSES, estimate, contradicting)
    if estimate is None:
        console.warn("too few keypoints have sensor depth to find the scene's scale: going on without the sensor")
        return SensorUnit(None, "too few keypoints with sensor depth")
    return _unit(estimate.metres_per_unit, BY_KEYPOINTS, estimate, contradicting)


# Depth units of 16-bit maps that are in use: metres a count, and who writes them.
_UNITS = {0.001: "millimetres", 0.0002: "1/5000 m, as TUM RGB-D has them", 0.0001: "1/10000 m"}


def tell_cut(found: SensorRange, max_depth: float) -> None:
    """Says how much sensor depth is left out for its distance, and what unit the maps are likely to have.

    Args:
        found: Of all photos' maps.
        max_depth: Largest depth that is used, metres.
    """
    if found.share_near + found.share_far < 0.005:
        return
    parts = []
    if found.share_far >= 0.005:
        parts.append(f"{found.share_far:.0%} of it lies beyond {max_depth:g} m")
    if found.share_near >= 0.005:
        parts.append(f"{found.share_near:.0%} nearer than {MIN_DEPTH_M:g} m")
    text = f"sensor depth is cut: {' and '.join(parts)} (median of all: {found.median:.3g} m)."
    factor = found.likely_factor
    if factor is None:
        console.warn(f"{text} Where such distances are real, give --set merge.max_sensor_depth=METRES.")
        return
    unit = round(0.001 * factor, 7)
    name = f", {_UNITS[unit]}" if unit in _UNITS else ""
    console.warn(
        f"{text} Their unit seems wrong by a factor of {factor:g}: if the maps were read as millimetres, "
        f"run `depthrf ingest` with --depth-unit {unit:g}{name}."
    )


def _unit(unit: float, method: str, estimate: SensorScale | None, contradicting: tuple[str, ...]) -> SensorUnit:
    if estimate is None:
        return SensorUnit(unit, method)
    return SensorUnit(
        metres_per_unit=unit,
        method=method,
        estimated=estimate.metres_per_unit,
        relative_deviation=estimate.relative_deviation,
        uncertainty=estimate.uncertainty,
        num_keypoints=estimate.num_keypoints,
        num_photos=estimate.num_photos,
        contradicting=contradicting,
    )


def _keypoint_pairs(
    keypoints: SparseDepths, metres: NDArray[np.float32], max_relative_sigma: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Depth of one photo's good keypoints, its sigma, and sensor depth there; (K,) each."""
    from depthrf.depth.merging import good_keypoints
    from depthrf.geometry.camera import containing_pixels

    height, width = metres.shape
    good = good_keypoints(keypoints, width, height, max_relative_sigma=max_relative_sigma)
    row, column = containing_pixels(keypoints.xy[good])
    return keypoints.depth[good], keypoints.sigma[good], metres[row, column].astype("float64")
