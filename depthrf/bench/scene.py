"""A NeRF synthetic scene in the field's normalised space: the pixels to train on, and the views to score."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from depthrf import console
from depthrf.bench.protocol import Options, ScaleScore
from depthrf.io.poses import blender

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from depthrf.bench.multi_scale import MultiScaleStore
    from depthrf.geometry.camera import Camera
    from depthrf.geometry.transforms import Similarity
    from depthrf.io.poses.blender import BlenderFrame
    from depthrf.io.trained_field import TrainedField
    from depthrf.nerf.rays.batch import Bounds
    from depthrf.nerf.scores.metrics import ColorScores

_RADIUS = 1.5  # the objects lie in this ball around the origin: it becomes the field's uncontracted unit ball
_PICTURES = 3  # test views in a picture of scores


def scaled_camera(frame: BlenderFrame, size: int, scale: int) -> Camera:
    """The frame's camera at ``size`` / 2 ** ``scale`` pixels on the longer side."""
    camera = frame.view.camera
    factor = size / 2**scale / max(camera.width, camera.height)
    return camera.resized(max(1, round(camera.width * factor)), max(1, round(camera.height * factor)))


def normalised() -> tuple[Similarity, Bounds]:
    """The similarity into the normalised scene, and the depth range there."""
    import numpy as np

    from depthrf.geometry.transforms import Similarity
    from depthrf.nerf.rays.batch import Bounds

    scale = 1.0 / _RADIUS
    return Similarity(scale, np.eye(3), np.zeros(3)), Bounds(blender.NEAR * scale, blender.FAR * scale)


def load_store(cameras: list[Camera], frames: list[BlenderFrame], target: torch.device) -> MultiScaleStore:
    """Pixels and depths of all frames, with one store for each camera's size."""
    import numpy as np

    from depthrf.bench.multi_scale import MultiScaleStore
    from depthrf.geometry.camera import DepthPrior
    from depthrf.nerf.normalise import normalise_view
    from depthrf.nerf.rays.pixel_store import PixelStore, resize_prior

    similarity, bounds = normalised()
    depths = [blender.read_depth(frame) * np.float32(similarity.scale) for frame in frames]
    stores = []
    for camera in cameras:
        views = [normalise_view(frame.view.with_camera(camera), similarity) for frame in frames]
        images = [blender.read_image(frame, "white", camera) for frame in frames]
        priors = [resize_prior(DepthPrior(depth, np.zeros_like(depth)), camera) for depth in depths]
        stores.append(PixelStore(views, images, priors, bounds=bounds, device=target))
    return MultiScaleStore(stores)


def score_views(picture: Path, field: TrainedField, test: list[BlenderFrame], options: Options) -> list[ScaleScore]:
    """Mean scores of all test views by size; ``picture`` is written and shows the first of them at full size."""
    import numpy as np

    from depthrf.io.draw.overlays import ColourScale, paint_error, titled_row
    from depthrf.io.photos.images import write_png
    from depthrf.nerf.scores.metrics import color_scores

    colours = ColourScale(field.bounds.near, field.bounds.far, inverse=True)
    scores: dict[int, list[Future[ColorScores]]] = {}
    rows: list[NDArray[np.uint8]] = []
    with ThreadPoolExecutor() as pool:  # a GPU renders the next view while the CPU scores this one
        views = [(frame, scale) for frame in test for scale in range(options.scales)]
        for frame, scale in console.track(views, "score", total=len(views)):
            camera = scaled_camera(frame, options.size, scale)
            photo = blender.read_image(frame, "white", camera)
            rendered, depth = _render(field, frame, camera)
            scores.setdefault(camera.width, []).append(pool.submit(color_scores, rendered, photo))
            if scale == 0 and len(rows) < _PICTURES:
                panels = [("true", photo), ("rendered", rendered), ("error", paint_error(rendered, photo))]
                rows.append(titled_row([*panels, ("depth", colours.paint(depth))]))
    write_png(picture, np.concatenate(rows))
    means = []
    for size, results in scores.items():
        found = [future.result() for future in results]
        psnr = float(np.mean([result.psnr for result in found]))
        ssim = float(np.mean([result.ssim for result in found]))
        means.append(ScaleScore(size, psnr, ssim))
    return means


def _render(field: TrainedField, frame: BlenderFrame, camera: Camera) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    from depthrf.nerf.normalise import normalise_view
    from depthrf.nerf.rendering.views import render_view

    view = normalise_view(frame.view.with_camera(camera), field.normalised_from_scene)
    rendered = render_view(field.model, view, field.bounds)
    return rendered.rgb, rendered.depth
