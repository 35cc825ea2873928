"""Merges sensor depth, aligned monocular depth, stereo depth and keypoints into the prior that training reads.

Also settles the scene's scale: from the sensor, from poses given in metres, and from lengths that the user knows.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from depthrf import console
from depthrf.device import require_memory
from depthrf.io.depth.reports import PriorPhoto, PriorReport
from depthrf.io.depth.scale import SceneScale
from depthrf.io.depth.sensor_maps import MAX_DEPTH_M, MetresByStem, open_sensor_maps
from depthrf.options import option
from depthrf.stages.merging.scale import parse_known, settle_scale
from depthrf.stages.merging.sensor_unit import settle_sensor_unit, tell_cut
from depthrf.stages.merging.sources import DepthSources
from depthrf.storage import fresh_dir, write_json
from depthrf.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from depthrf.depth.voting import Witness
    from depthrf.geometry.camera import DepthPrior, SparseScene, View

HELP = "merges sensor depth, aligned and stereo depth and keypoints into the depth prior."
REQUIRES = ("sfm", "align")


# Memory of merging one photo's depth, for each of its pixels; measured up to 4000x3000.
_BYTES_PER_PIXEL = 100


@dataclass(frozen=True)
class Options:
    max_sensor_depth: float = option(MAX_DEPTH_M, "drop sensor depth beyond this, metres", least=0.1, most=1000)
    max_keypoint_sigma: float = option(
        0.1, "drop keypoints whose standard deviation exceeds this share of their depth", least=0, most=10
    )
    fill: bool = option(True, "fill holes of stereo depth where the other photos agree with the filling")
    known_length: tuple[str, ...] = option(
        (), "a length in a photo, as PHOTO:x1,y1:x2,y2=1.20m; repeatable", separator=";"
    )
    known_distance: tuple[str, ...] = option(
        (), "the distance of two photos' cameras, as 'PHOTO_A PHOTO_B=0.6m'; repeatable", separator=";"
    )
    seed: int = option(0, "seed of the robust fits", least=0, most=2**31 - 1)

    def __post_init__(self) -> None:
        parse_known(self.known_length, self.known_distance)  # before the hours that come before merging


@dataclass(frozen=True)
class Summary:
    """metres_deviation: standard deviation of ``metres_per_unit``. coverage: mean share of pixels by source."""

    num_photos: int
    num_sensor: int
    num_mono: int
    num_stereo: int
    metres_per_unit: float | None
    metres_deviation: float | None = None
    coverage: dict[str, float] = field(default_factory=dict)


def inputs(workspace: Workspace, options: Options) -> list[Path]:
    return [
        workspace.undistorted_sparse,
        workspace.sfm_model,
        workspace.pose_origin,
        *([workspace.photos] if options.known_length or options.known_distance else []),
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
    return [workspace.prior_depth, workspace.scale]


def run(workspace: Workspace, options: Options) -> Summary:
    """Writes ``depth/prior/<stem>.npz`` and a picture of it for each training photo, ``depth/prior/report.json``,
    and ``depth/scale.json``.

    Raises:
        DepthrfError: A depth file is damaged or of the wrong type, or a photo's maps do not fit into memory.
        UsageError: A known length names a photo or a point that cannot be measured.
    """
    from depthrf.io.poses.colmap import load_scene

    scene = load_scene(workspace.undistorted_sparse)
    _check_memory(scene)
    maps = open_sensor_maps(workspace)
    fresh_dir(workspace.prior_depth)
    if (found_range := maps.range_of(scene.views, options.max_sensor_depth)) is not None:
        tell_cut(found_range, options.max_sensor_depth)
    metres = MetresByStem(maps, scene.views, options.max_sensor_depth)
    unit = settle_sensor_unit(workspace, scene, metres, max_keypoint_sigma=options.max_keypoint_sigma)
    sources = DepthSources(workspace, scene, maps, metres, unit, options.max_keypoint_sigma, options.seed)
    photos = _merge_all(workspace, scene, sources)
    stereo_only = [view for view in scene.views if photos[view.stem].stereo_only]
    if options.fill and stereo_only:
        _fill_all(workspace, replace(scene, views=stereo_only))
    for view in scene.views:
        photos[view.stem] = replace(photos[view.stem], coverage=_draw(workspace, view))
    write_json(workspace.prior_report, PriorReport(unit, photos))
    known = parse_known(options.known_length, options.known_distance)
    scale = settle_scale(workspace, scene, unit, known)
    # Beside the prior, not in it: another scale trains no other field.
    write_json(workspace.scale, scale)
    return _summary(photos, scale)


def _check_memory(scene: SparseScene) -> None:
    largest = max((view.camera for view in scene.views), key=lambda camera: camera.width * camera.height)
    what = f"Merging the depth of a photo of {largest.width}x{largest.height}"
    require_memory(_BYTES_PER_PIXEL * largest.width * largest.height, what, "Reconstruct from smaller copies.")


def _merge_all(workspace: Workspace, scene: SparseScene, sources: DepthSources) -> dict[str, PriorPhoto]:
    from depthrf.depth.merging import merge
    from depthrf.depth.stereo.neighbours import compared_with
    from depthrf.depth.voting import confirmed
    from depthrf.io.depth.depth_maps import write_prior

    witnesses = _witnesses(scene.views, sources)
    near = compared_with(scene) if witnesses else []
    photos = {}
    for i, view in enumerate(console.track(scene.views, "merging depth")):
        own = sources.of(view)
        stereo_wins = None
        if own.disputed is not None and own.mono is not None and own.stereo is not None:
            stereo_wins = confirmed(view, own.mono, own.stereo, own.disputed, [witnesses[j] for j in near[i]])
        prior, source = merge(
            keypoints=own.keypoints, mono=own.mono, sensor=own.sensor, stereo=own.stereo, stereo_wins=stereo_wins
        )
        write_prior(_prior_path(workspace, view), *_unmasked(workspace, view, prior, source))
        photos[view.stem] = PriorPhoto(
            own.sensor is not None, own.mono is not None, own.mono_fitted_to, own.stereo is not None
        )
    return photos


def _witnesses(views: list[View], sources: DepthSources) -> list[Witness]:
    """What each photo can say where others' stereo and monocular depth disagree; empty without both."""
    from depthrf.depth.merging import merge
    from depthrf.depth.voting import Witness

    workspace = sources.workspace
    if not any(workspace.stereo_depth.glob("*.npz")) or not any(workspace.aligned_depth.glob("*.npy")):
        return []
    witnesses = []
    for view in console.track(views, "comparing depth"):
        own = sources.of(view)
        prior, _ = merge(keypoints=own.keypoints, mono=own.mono, sensor=own.sensor, stereo=own.stereo)
        witnesses.append(Witness.of(view, prior, own.disputed))
    return witnesses


def _fill_all(workspace: Workspace, scene: SparseScene) -> None:
    """Fills the holes of photos that have stereo depth alone.

    Sensors and networks leave few holes, and those for a reason: glass, black, too far.
    """
    import numpy as np

    from depthrf.depth.completion import Interpolation, fill_holes, interpolate
    from depthrf.depth.merging import Source
    from depthrf.depth.stereo.neighbours import compared_with
    from depthrf.io.depth.depth_maps import read_prior, write_prior
    from depthrf.io.photos.images import read_rgb

    interpolations: dict[int, Interpolation] = {}
    for i, view in enumerate(console.track(scene.views, "interpolating depth")):
        prior, _ = read_prior(_prior_path(workspace, view))
        found = interpolate(view, prior, read_rgb(workspace.undistorted_images / view.name))
        if found is not None:
            interpolations[i] = found
    near = compared_with(scene)
    for i, view in enumerate(scene.views):
        if i in interpolations:
            prior, source = read_prior(_prior_path(workspace, view))
            others = [interpolations[j] for j in near[i] if j in interpolations]
            prior, new = fill_holes(prior, interpolations[i], others)
            source = np.where(new, np.uint8(Source.FILLED), source)
            write_prior(_prior_path(workspace, view), *_unmasked(workspace, view, prior, source))


def _unmasked(
    workspace: Workspace, view: View, prior: DepthPrior, source: NDArray[np.uint8]
) -> tuple[DepthPrior, NDArray[np.uint8]]:
    """Without the pixels that the photo's mask leaves out."""
    from depthrf.depth.merging import leave_out
    from depthrf.io.masks import read_used

    return leave_out(prior, source, read_used(workspace.undistorted_masks, view.name, view.camera))


def _draw(workspace: Workspace, view: View) -> dict[str, float]:
    """Writes the picture of a photo's prior; returns the share of its pixels by source."""
    import numpy as np

    from depthrf.depth.merging import Source
    from depthrf.io.depth.depth_maps import read_prior
    from depthrf.io.draw.depth_pictures import draw_prior
    from depthrf.io.photos.images import write_jpeg

    prior, source = read_prior(_prior_path(workspace, view))
    picture = draw_prior(workspace.undistorted_images / view.name, prior, source)
    write_jpeg(workspace.prior_depth / "overlays" / f"{view.stem}.jpg", picture)
    return {s.name.lower(): float(np.mean(source == s)) for s in Source if s != Source.NONE}


def _summary(photos: dict[str, PriorPhoto], scale: SceneScale) -> Summary:
    import numpy as np

    from depthrf.depth.merging import Source

    names = [s.name.lower() for s in Source if s != Source.NONE]
    return Summary(
        num_photos=len(photos),
        num_sensor=sum(photo.sensor for photo in photos.values()),
        num_mono=sum(photo.mono for photo in photos.values()),
        num_stereo=sum(photo.stereo for photo in photos.values()),
        metres_per_unit=scale.metres_per_unit,
        metres_deviation=scale.deviation,
        coverage={name: float(np.mean([p.coverage[name] for p in photos.values()] or [0.0])) for name in names},
    )


def _prior_path(workspace: Workspace, view: View) -> Path:
    return workspace.prior_depth / f"{view.stem}.npz"
