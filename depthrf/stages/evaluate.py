"""evaluate: renders held-out views and scores them against their photos and, where known, their depth.

Held-out views are those of ``test_filenames`` in the workspace's transforms.json, or further photos of the scene
(``photos``) that are registered to the finished model without changing it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthrf import console, device
from depthrf.errors import DepthrfError
from depthrf.options import option
from depthrf.workspace import Workspace, fingerprint, fresh_dir, read_json, write_json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from depthrf.geometry.camera import SparseDepths, View
    from depthrf.io.trained_field import TrainedField

REQUIRES = ("sfm", "train")

SCORES = ("psnr", "ssim", "lpips", "psnr_exposure_fit")
_HEADERS = {
    "psnr": "PSNR",
    "psnr_exposure_fit": "fit",
    "ssim": "SSIM",
    "depth_abs_rel": "AbsRel",
    "depth_median_abs_error": "median",
    "depth_delta1": "delta1",
}
DEPTH_SCORES = ("depth_abs_rel", "depth_rmse", "depth_median_abs_error", "depth_delta1", "depth_coverage")


@dataclass(frozen=True)
class Options:
    photos: Path | None = option(None, "folder of further photos of the scene to register and score")
    device: str = option("auto", "where to compute", choices=device.CHOICES, identity=False)


@dataclass(frozen=True)
class Summary:
    num_views: int
    width: int
    height: int
    mean: dict[str, float | None]
    depth_reference: str | None
    not_registered: list[dict[str, str]]
    device: str


@dataclass(frozen=True)
class HeldOut:
    """Views to score, with their folders of undistorted photos and masks and reference depths (H, W) by view name."""

    views: list[View]
    images: Path
    depth: dict[str, NDArray[np.float32]]
    depth_reference: str | None
    not_registered: list[dict[str, str]]
    masks: Path


def inputs(workspace: Workspace, options: Options) -> list[Path]:
    further = [options.photos] if options.photos else []
    undistorted = [workspace.undistorted_images, workspace.undistorted_masks]
    return [workspace.checkpoint, workspace.transforms, *undistorted, *further]


def outputs(workspace: Workspace, options: Options) -> list[Path]:
    return [workspace.evaluation, workspace.evaluation_dir]


def run(workspace: Workspace, options: Options) -> Summary:
    """Scores all held-out views and writes ``evaluation.json`` and one picture a view.

    Raises:
        DepthrfError: There is nothing to score.
    """
    from depthrf.io.trained_field import load_field

    target = device.resolve(options.device)
    fresh_dir(workspace.evaluation_dir)
    held_out = _registered(workspace, options.photos) if options.photos else _test_views(workspace)
    field = load_field(workspace.checkpoint, target)
    rows = [_score(workspace, field, view, held_out) for view in console.track(held_out.views, "evaluate")]
    mean = _mean(rows)
    camera = held_out.views[0].camera.fitted(field.max_side)
    summary = Summary(
        num_views=len(rows),
        width=camera.width,
        height=camera.height,
        mean=mean,
        depth_reference=held_out.depth_reference,
        not_registered=held_out.not_registered,
        device=str(target),
    )
    write_json(workspace.evaluation, {**asdict(summary), "views": rows})
    _print(rows, mean, summary)
    return summary


def _test_views(workspace: Workspace) -> HeldOut:
    from depthrf.io.transforms_json import load_views
    from depthrf.stages.merge import load_sensor_depth

    _, views = load_views(workspace.transforms)
    if not views:
        raise DepthrfError(
            "No held-out views to score: all photos were trained on. Give further photos of the scene with "
            "--photos DIR, or poses with test_filenames (--poses transforms.json)."
        )
    depth = {v.name: d for v in views if (d := load_sensor_depth(workspace, v)) is not None}
    images, masks = workspace.undistorted_images, workspace.undistorted_masks
    return HeldOut(views, images, depth, "sensor" if depth else None, [], masks)


def _registered(workspace: Workspace, folder: Path) -> HeldOut:
    """Further photos, placed in the finished model; their keypoints on its points are the reference depth."""
    from depthrf.io.masks import undistort_masks
    from depthrf.sfm.registration import register_photos
    from depthrf.stages.ingest import collect

    taken = workspace.evaluation_dir / "masks"
    collected = collect(folder, fresh_dir(workspace.evaluation_dir / "photos"), taken)
    trained = {fingerprint(p) for p in workspace.images.iterdir()}
    paths = [p for p in collected if fingerprint(p) not in trained]
    if known := len(collected) - len(paths):
        console.warn(f"{known} of the photos in {folder} were trained on; they are not scored")
    if not paths:
        raise DepthrfError(f"{folder} holds no photo to score: {len(collected)} usable, all of them trained on.")
    ledger = read_json(workspace.sfm / "ledger.json")
    with console.stepwise() as progress:
        found = register_photos(
            workspace.sfm,
            paths,
            workspace.evaluation_dir / "undistorted",
            database=ledger["database"],
            features=ledger["features"],
            max_image_size=ledger["max_image_size"],
            progress=progress,
        )
    for photo in found.failed:
        console.warn(f"{photo.name} is not scored: {photo.reason}")
    if not found.views:
        raise DepthrfError(f"None of the {len(paths)} photos in {folder} could be placed in the model.")
    depth = {view.name: _keypoint_depth(view, found.depths[view.name]) for view in found.views}
    failed = [{"name": photo.name, "reason": photo.reason} for photo in found.failed]
    masks = workspace.evaluation_dir / "undistorted_masks"
    if taken.is_dir():
        undistort_masks(taken, workspace.sfm / "sparse" / "0", found.views, masks)
    return HeldOut(found.views, workspace.evaluation_dir / "undistorted", depth, "sfm_keypoints", failed, masks)


def _keypoint_depth(view: View, keypoints: SparseDepths) -> NDArray[np.float32]:
    """Depth map (H, W) of the keypoints' pixels, 0 elsewhere."""
    import numpy as np

    from depthrf.geometry.camera import containing_pixels

    depth = np.zeros((view.camera.height, view.camera.width), dtype=np.float32)
    rows, cols = containing_pixels(keypoints.xy)
    inside = (cols >= 0) & (cols < view.camera.width) & (rows >= 0) & (rows < view.camera.height)
    depth[rows[inside], cols[inside]] = keypoints.depth[inside]
    return depth


def _score(workspace: Workspace, field: TrainedField, view: View, held_out: HeldOut) -> dict[str, Any]:
    import cv2
    import numpy as np

    from depthrf.geometry.camera import DepthPrior
    from depthrf.io.images import read_rgb, write_png
    from depthrf.io.masks import read_used
    from depthrf.nerf.metrics import color_scores, depth_scores
    from depthrf.nerf.normalise import normalise_view
    from depthrf.nerf.rays import resize_prior
    from depthrf.nerf.views import colorise_depth, render_view

    camera = view.camera.fitted(field.max_side)
    frame = field.normalised_from_scene
    rendered = render_view(field.model, normalise_view(view.with_camera(camera), frame), field.bounds)
    photo = read_rgb(held_out.images / view.name)
    photo = cv2.resize(photo, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
    used = read_used(held_out.masks, view.name, camera)
    row: dict[str, Any] = {"name": view.name, **asdict(color_scores(rendered.rgb, photo, used)), "lpips": None}
    if view.name in held_out.depth:
        reference = held_out.depth[view.name]
        reference = resize_prior(DepthPrior(reference, reference), camera).depth * used
        scores = depth_scores(rendered.depth / frame.scale, reference)
        row |= asdict(scores) if scores else {}
    depth = colorise_depth(rendered.depth, field.bounds)
    write_png(workspace.evaluation_dir / f"{view.stem}.png", np.concatenate([photo, rendered.rgb, depth], axis=1))
    return row


def _mean(rows: list[dict[str, Any]]) -> dict[str, float | None]:
    """Mean of each score over the views that have it; None where none has."""
    mean: dict[str, float | None] = {}
    for name in (*SCORES, *DEPTH_SCORES):
        values = [row[name] for row in rows if row.get(name) is not None]
        if values or name in SCORES:
            mean[name] = sum(values) / len(values) if values else None
    return mean


def _print(rows: list[dict[str, Any]], mean: dict[str, float | None], summary: Summary) -> None:
    from rich.table import Table

    names = [name for name in _HEADERS if mean.get(name) is not None]
    table = Table("view", *(_HEADERS[name] for name in names))
    for row in (*rows, {"name": "mean", **mean}):
        cells = (row.get(name) for name in names)
        table.add_row(row["name"], *("-" if value is None else f"{value:.3f}" for value in cells))
    console.console().print(table)
    size = f"{summary.width}x{summary.height}"
    reference = f"; depth against {summary.depth_reference}, scene units" if summary.depth_reference else ""
    console.note(f"  {len(rows)} held-out views at {size}{reference}; LPIPS: not measured, its weights are not there")
