"""Scores of one view against its photo and, where known, its depth; the table of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from depthrf import console
from depthrf.evaluation import ViewScores, deviations, mean_scores

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from depthrf.geometry.camera import View
    from depthrf.io.trained_field import TrainedField
    from depthrf.nerf.scores.lpips import Lpips

_HEADERS = {
    "psnr": "PSNR",
    "psnr_exposure_fit": "fitted",
    "ssim": "SSIM",
    "lpips": "LPIPS",
    "depth_abs_rel": "AbsRel",
    "depth_rmse": "RMSE",
    "depth_median_abs_error": "median",
    "depth_delta1": "delta1",
}
_DENSE = 0.2  # share of known pixels from which a reference depth makes a picture


def score_view(
    field: TrainedField,
    view: View,
    photo_file: Path,
    picture: Path,
    *,
    masks: Path,
    gain: NDArray[np.float64] | None = None,
    reference: NDArray[np.float32] | None = None,
    lpips: Lpips | None = None,
) -> ViewScores:
    """Renders ``view`` at the size of training, scores it and writes the picture of both.

    Args:
        field: The trained field.
        view: The undistorted view in scene units.
        photo_file: Its photo.
        picture: PNG to write: photo, rendering, error and depth side by side.
        masks: Folder of masks of undistorted photos; pixels they leave out are not scored.
        gain: Exposure (3,) to render with, relative to the training photos' mean; None: that mean.
        reference: z-depth (H, W) in scene units, 0 = unknown.
        lpips: The metric, where its weights are here.
    """
    import cv2
    import numpy as np

    from depthrf.geometry.camera import DepthPrior
    from depthrf.io.draw.overlays import paint_error, titled_row
    from depthrf.io.masks import read_used
    from depthrf.io.photos.images import read_rgb, write_png
    from depthrf.nerf.normalise import normalise_view
    from depthrf.nerf.rays.pixel_store import resize_prior
    from depthrf.nerf.rendering.views import render_view
    from depthrf.nerf.scores.metrics import color_scores, depth_scores

    camera = view.camera.fitted(field.max_side)
    scale = field.normalised_from_scene.scale
    at_size = normalise_view(view.with_camera(camera), field.normalised_from_scene)
    rendered = render_view(field.model, at_size, field.bounds)
    if gain is not None:
        exposed = (rendered.rgb * gain).round().clip(0, 255).astype(np.uint8)
        rendered = replace(rendered, rgb=exposed)
    photo = cv2.resize(read_rgb(photo_file), (camera.width, camera.height), interpolation=cv2.INTER_AREA)
    used = read_used(masks, view.name, camera)
    color = color_scores(rendered.rgb, photo, used)
    distance = lpips.distance(rendered.rgb, photo, used) if lpips is not None else None
    found = ViewScores(view.name, color.psnr, color.psnr_exposure_fit, color.ssim, distance)
    panels = [("photo", photo), ("rendered", rendered.rgb), ("error", paint_error(rendered.rgb, photo))]
    panels.append(("depth", field.depth_colours.paint(rendered.depth)))
    if reference is not None:
        reference = resize_prior(DepthPrior(reference, reference), camera).depth * used
        scores = depth_scores(rendered.depth / scale, reference)
        found = replace(found, **asdict(scores)) if scores else found
        if scores and scores.depth_coverage > _DENSE:
            panels.append(("reference depth", field.depth_colours.paint(reference * scale)))
    write_png(picture, titled_row(panels))
    return found


def print_table(views: Sequence[ViewScores], notes: list[str]) -> None:
    """One line a view, then the mean and, over several views, the standard deviation."""
    from rich.table import Table

    mean, spread = mean_scores(views), deviations(views)
    names = [name for name in _HEADERS if mean.get(name) is not None]
    table = Table("view", *(_HEADERS[name] for name in names))

    def add(title: str, cells: Sequence[float | None]) -> None:
        table.add_row(console.cell(title), *("-" if value is None else f"{value:.3f}" for value in cells))

    for view in views:
        add(view.name, [view.of(name) for name in names])
    table.add_section()
    add("mean", [mean[name] for name in names])
    if spread:
        add("std", [spread[name].std if name in spread else None for name in names])
    console.console().print(table)
    for note in notes:
        console.note(f"  {note}")
