"""Scores of one view against its photo and, where known, its depth; means, spread and the table."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthrf import console

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from depthrf.geometry.camera import View
    from depthrf.io.trained_field import TrainedField
    from depthrf.nerf.lpips import Lpips

Row = dict[str, Any]

SCORES = ("psnr", "psnr_exposure_fit", "ssim", "lpips")
DEPTH_SCORES = ("depth_abs_rel", "depth_rmse", "depth_median_abs_error", "depth_delta1", "depth_coverage")
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
    reference: NDArray[np.float32] | None = None,
    lpips: Lpips | None = None,
) -> Row:
    """Renders ``view`` at the size of training, scores it and writes the picture of both.

    Args:
        field: The trained field.
        view: The undistorted view in scene units.
        photo_file: Its photo.
        picture: PNG to write: photo, rendering, error and depth side by side.
        masks: Folder of masks of undistorted photos; pixels they leave out are not scored.
        reference: z-depth (H, W) in scene units, 0 = unknown.
        lpips: The metric, where its weights are here.
    """
    import cv2

    from depthrf.geometry.camera import DepthPrior
    from depthrf.io.images import read_rgb, write_png
    from depthrf.io.masks import read_used
    from depthrf.io.overlays import paint_error, titled_row
    from depthrf.nerf.metrics import color_scores, depth_scores
    from depthrf.nerf.normalise import normalise_view
    from depthrf.nerf.pixel_store import resize_prior
    from depthrf.nerf.views import render_view

    camera = view.camera.fitted(field.max_side)
    scale = field.normalised_from_scene.scale
    at_size = normalise_view(view.with_camera(camera), field.normalised_from_scene)
    rendered = render_view(field.model, at_size, field.bounds)
    photo = cv2.resize(read_rgb(photo_file), (camera.width, camera.height), interpolation=cv2.INTER_AREA)
    used = read_used(masks, view.name, camera)
    row: Row = {"name": view.name, **asdict(color_scores(rendered.rgb, photo, used))}
    row["lpips"] = lpips.distance(rendered.rgb, photo) if lpips is not None else None
    panels = [("photo", photo), ("rendered", rendered.rgb), ("error", paint_error(rendered.rgb, photo))]
    panels.append(("depth", field.depth_colours.paint(rendered.depth)))
    if reference is not None:
        reference = resize_prior(DepthPrior(reference, reference), camera).depth * used
        scores = depth_scores(rendered.depth / scale, reference)
        row |= asdict(scores) if scores else {}
        if scores and scores.depth_coverage > _DENSE:
            panels.append(("reference depth", field.depth_colours.paint(reference * scale)))
    write_png(picture, titled_row(panels))
    return row


def mean_scores(rows: list[Row]) -> dict[str, float | None]:
    """Mean of each score over the views that have it; None where none has."""
    mean: dict[str, float | None] = {}
    for name in (*SCORES, *DEPTH_SCORES):
        values = [row[name] for row in rows if row.get(name) is not None]
        if values or name in SCORES:
            mean[name] = sum(values) / len(values) if values else None
    return mean


def spread(rows: list[Row]) -> dict[str, dict[str, float]]:
    """Standard deviation (of the sample), least and greatest of each score over two views or more."""
    import numpy as np

    found = {}
    for name in (*SCORES, *DEPTH_SCORES):
        values = [row[name] for row in rows if row.get(name) is not None]
        if len(values) > 1:
            found[name] = {"std": float(np.std(values, ddof=1)), "min": min(values), "max": max(values)}
    return found


def print_table(rows: list[Row], notes: list[str]) -> None:
    """One line a view, then the mean and, over several views, the standard deviation."""
    from rich.markup import escape
    from rich.table import Table

    mean, deviations = mean_scores(rows), spread(rows)
    names = [name for name in _HEADERS if mean.get(name) is not None]
    table = Table("view", *(_HEADERS[name] for name in names))

    def add(title: str, values: Row) -> None:
        cells = (values.get(name) for name in names)
        table.add_row(escape(title), *("-" if value is None else f"{value:.3f}" for value in cells))

    for row in rows:
        add(row["name"], row)
    table.add_section()
    add("mean", mean)
    if deviations:
        add("std", {name: values["std"] for name, values in deviations.items()})
    console.console().print(table)
    for note in notes:
        console.note(f"  {note}")
