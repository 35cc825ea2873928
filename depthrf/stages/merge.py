"""Merges sensor depth, aligned monocular depth, stereo depth and keypoints into the prior that training reads.

Also settles the scene's unit: ``metres_per_unit`` from the sensor, exactly 1 when poses were given in metres.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthrf import console
from depthrf.options import option
from depthrf.stages.sensor import MAX_DEPTH_M, open_sensor_maps
from depthrf.stages.stereo_depth import load_stereo_prior
from depthrf.workspace import Workspace, fresh_dir, read_json, write_json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from depthrf.depth.completion import Sketch
    from depthrf.depth.merging import SensorScale
    from depthrf.geometry.camera import DepthPrior, SparseScene, View

REQUIRES = ("sfm", "align")

# Given poses are taken as metric when the keypoints say so to this accuracy; else the sensor's scale is used.
_METRIC_TOLERANCE = 0.15


@dataclass(frozen=True)
class Options:
    max_sensor_depth: float = option(MAX_DEPTH_M, "sensor depth beyond this is dropped, metres", least=0.1)
    max_keypoint_sigma: float = option(0.1, "keypoints less sure than this share of their depth are dropped", least=0)
    fill: bool = option(True, "depth between that of stereo, where the other photos bear it out")
    seed: int = option(0, "seed of the robust fits", least=0)


@dataclass(frozen=True)
class Summary:
    """coverage: mean share of pixels by source, over the training photos."""

    num_photos: int
    num_sensor: int
    num_mono: int
    num_stereo: int
    metres_per_unit: float | None
    coverage: dict[str, float] = field(default_factory=dict)


def report_path(workspace: Workspace) -> Path:
    """``metres_per_unit`` with how it was found, and coverage by source of each photo."""
    return workspace.prior_depth / "report.json"


def inputs(workspace: Workspace, options: Options) -> list[Path]:
    return [
        workspace.undistorted_sparse,
        workspace.sfm / "sparse" / "0",
        workspace.sensor_depth,
        workspace.sensor_confidence,
        workspace.sensor_cameras,
        workspace.mono_depth,
        workspace.aligned_depth,
        workspace.stereo_depth,
        workspace.undistorted_masks,
        *([workspace.undistorted_images] if options.fill else []),
    ]


def outputs(workspace: Workspace, options: Options) -> list[Path]:
    return [workspace.prior_depth]


def run(workspace: Workspace, options: Options) -> Summary:
    """Writes ``depth/prior/<stem>.npz`` and a picture of it for each training photo, and ``depth/prior/report.json``.

    Raises:
        DepthrfError: A depth file is damaged or of the wrong type.
    """
    import numpy as np

    from depthrf.depth.completion import completed, sketch
    from depthrf.depth.merging import Source, leave_out, merge
    from depthrf.io.colmap import load_scene
    from depthrf.io.depth_maps import read_prior, write_prior
    from depthrf.io.depth_pictures import draw_prior
    from depthrf.io.images import read_rgb, write_jpeg
    from depthrf.io.masks import read_used

    scene = load_scene(workspace.undistorted_sparse)
    maps = open_sensor_maps(workspace)
    fresh_dir(workspace.prior_depth)
    sensors = {
        view.stem: metres for view in scene.views if (metres := maps.metres(view, options.max_sensor_depth)) is not None
    }
    scale = _settle_scale(workspace, scene, sensors, options)
    report: dict[str, Any] = {}
    sketches: dict[str, Sketch] = {}
    generator = np.random.default_rng(options.seed)
    for view in console.track(scene.views, "merging depth"):
        used = None if view.stem in scale.contradicting else sensors.get(view.stem)
        sensor = _sensor_prior(used, maps.doubt(view), view, scale.metres_per_unit)
        mono, fitted_to = _mono_prior(workspace, view, sensor, generator)
        stereo = load_stereo_prior(workspace, view.stem, view.camera)
        prior, source = merge(sensor=sensor, mono=mono, keypoints=_keypoints(scene, view, options), stereo=stereo)
        prior, source = leave_out(prior, source, read_used(workspace.undistorted_masks, view.name, view.camera))
        write_prior(_prior_path(workspace, view), prior, source)
        # Sensors and networks leave little open, and what they do leave they have reasons for.
        if options.fill and stereo is not None and sensor is None and mono is None:
            found = sketch(view, prior, read_rgb(workspace.undistorted_images / view.name))
            if found is not None:
                sketches[view.stem] = found
        report[view.stem] = {
            "sensor": sensor is not None,
            "mono": mono is not None,
            "mono_fitted_to": fitted_to,
            "stereo": stereo is not None,
        }
    for view in console.track(scene.views, "filling depth"):
        prior, source = read_prior(_prior_path(workspace, view))
        if view.stem in sketches:
            others = [other for stem, other in sketches.items() if stem != view.stem]
            prior, new = completed(prior, sketches[view.stem], others)
            source = np.where(new, np.uint8(Source.FILLED), source)
            prior, source = leave_out(prior, source, read_used(workspace.undistorted_masks, view.name, view.camera))
            write_prior(_prior_path(workspace, view), prior, source)
        picture = draw_prior(workspace.undistorted_images / view.name, prior, source)
        write_jpeg(workspace.prior_depth / "overlays" / f"{view.stem}.jpg", picture)
        report[view.stem]["coverage"] = {
            s.name.lower(): float(np.mean(source == s)) for s in Source if s != Source.NONE
        }
    write_json(report_path(workspace), {"metres_per_unit": scale.metres_per_unit, "scale": scale, "photos": report})
    coverage = {
        s.name.lower(): float(np.mean([r["coverage"][s.name.lower()] for r in report.values()] or [0.0]))
        for s in Source
        if s != Source.NONE
    }
    return Summary(
        num_photos=len(scene.views),
        num_sensor=sum(r["sensor"] for r in report.values()),
        num_mono=sum(r["mono"] for r in report.values()),
        num_stereo=sum(r["stereo"] for r in report.values()),
        metres_per_unit=scale.metres_per_unit,
        coverage=coverage,
    )


def _prior_path(workspace: Workspace, view: View) -> Path:
    return workspace.prior_depth / f"{view.stem}.npz"


@dataclass(frozen=True)
class _Scale:
    """contradicting: stems of photos whose sensor depth is of another scale than the others' and is not used."""

    metres_per_unit: float | None
    method: str
    estimate: SensorScale | None = None
    contradicting: tuple[str, ...] = ()


def _settle_scale(
    workspace: Workspace, scene: SparseScene, sensors: dict[str, NDArray[np.float32]], options: Options
) -> _Scale:
    from depthrf.depth.merging import sensor_scale

    if not sensors:
        return _Scale(None, "no sensor depth")
    views = [view for view in scene.views if view.stem in sensors]
    estimate = sensor_scale([_keypoint_pairs(scene, view, sensors[view.stem], options) for view in views])
    contradicting = tuple(views[i].stem for i in estimate.contradicting) if estimate else ()
    if contradicting:
        console.warn(
            f"the sensor depth of {', '.join(contradicting)} does not fit the scene as that of the other photos does, "
            "and is left out. Check that these depth maps belong to these photos."
        )
    poses = _poses(workspace)
    near_metres = estimate is None or abs(estimate.metres_per_unit - 1.0) <= _METRIC_TOLERANCE
    # Refinement keeps the scale on average, so it is known less well than from many keypoints.
    if (poses == "given" and near_metres) or (poses == "refined" and estimate is None):
        return _Scale(1.0, "given poses taken as metric", estimate, contradicting)
    if estimate is None:
        console.warn("too few keypoints have sensor depth to find the scene's scale: going on without the sensor")
        return _Scale(None, "too few keypoints with sensor depth")
    console.note(
        f"  one scene unit is {estimate.metres_per_unit:.4g} m ± {estimate.uncertainty:.1%} "
        f"(sensor depth at {estimate.num_keypoints} keypoints of {estimate.num_photos} photos)"
    )
    return _Scale(estimate.metres_per_unit, "keypoints against the sensor", estimate, contradicting)


def _poses(workspace: Workspace) -> str | None:
    """What ``sfm`` says of the poses: given, refined or estimated; None where it has not run."""
    record = workspace.record("sfm")
    return (read_json(record).get("summary") or {}).get("poses") if record.is_file() else None


def _keypoint_pairs(
    scene: SparseScene, view: View, metres: NDArray[np.float32], options: Options
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    import numpy as np

    from depthrf.depth.merging import good_keypoints
    from depthrf.geometry.camera import containing_pixels

    sparse = scene.depths[view.name]
    height, width = metres.shape
    good = good_keypoints(sparse, width, height, max_relative_sigma=options.max_keypoint_sigma)
    row, column = containing_pixels(sparse.xy[good])
    return sparse.depth[good], sparse.sigma[good], metres[row, column].astype(np.float64)


def _keypoints(scene: SparseScene, view: View, options: Options) -> DepthPrior:
    from depthrf.depth.merging import keypoint_prior

    camera = view.camera
    return keypoint_prior(
        scene.depths[view.name], camera.width, camera.height, max_relative_sigma=options.max_keypoint_sigma
    )


def _sensor_prior(
    metres: NDArray[np.float32] | None, doubt: NDArray[np.float32] | None, view: View, metres_per_unit: float | None
) -> DepthPrior | None:
    import numpy as np

    from depthrf.depth.merging import sensor_sigma
    from depthrf.geometry.camera import DepthPrior

    if metres is None or metres_per_unit is None:
        return None
    unit = np.float32(metres_per_unit)
    sigma = sensor_sigma(metres, view.camera.fx) * (doubt if doubt is not None else np.float32(1.0))
    return DepthPrior(metres / unit, sigma / unit)


def _mono_prior(
    workspace: Workspace, view: View, sensor: DepthPrior | None, generator: np.random.Generator
) -> tuple[DepthPrior | None, str | None]:
    """Monocular depth, and what it was fitted to last: ``sensor``, ``keypoints`` or, without any, None.

    A photo whose keypoints could not place it still has its raw prediction, which the sensor can.
    """
    import numpy as np

    from depthrf.depth.refit import refit_to_sensor
    from depthrf.geometry.camera import DepthPrior
    from depthrf.io.depth_maps import read_map
    from depthrf.stages.align import sigma_path

    raw, aligned = (folder / f"{view.stem}.npy" for folder in (workspace.mono_depth, workspace.aligned_depth))
    mono = DepthPrior(read_map(aligned), read_map(sigma_path(workspace, view.stem))) if aligned.is_file() else None
    if sensor is not None and (mono is not None or raw.is_file()):
        if mono is None:
            kind = str(read_json(workspace.mono_depth / "meta.json")["kind"])
            prediction = read_map(raw)
        else:
            kind = _aligned_kind(workspace, view.stem)
            prediction = np.where(mono.depth > 0, mono.depth, np.float32(np.nan))
            prediction = np.reciprocal(prediction) if kind == "inverse_depth" else prediction
        refitted = refit_to_sensor(prediction, sensor, kind=kind, focal_px=view.camera.fx, generator=generator)
        if refitted is not None:
            return refitted, "sensor"
    return mono, "keypoints" if mono is not None else None


def _aligned_kind(workspace: Workspace, stem: str) -> str:
    """The kind of output that ``align`` settled on: for this photo, else for all."""
    from depthrf.stages.align import report_path as align_report

    report = read_json(align_report(workspace))
    return str((report["photos"].get(stem) or {}).get("kind") or report["kind"])
