"""Brings each photo's monocular depth to scale: fitted to SfM keypoints, with neighbours' help where those are few."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthrf import console
from depthrf.options import option
from depthrf.workspace import Workspace, fresh_dir, read_json, write_json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from depthrf.depth.photo_alignment import PhotoAlignment
    from depthrf.geometry.camera import DepthPrior, SparseDepths, View

REQUIRES = ("sfm", "depth")


@dataclass(frozen=True)
class Options:
    seed: int = option(0, "seed of the robust fits", least=0)


@dataclass(frozen=True)
class Summary:
    """median_rel_residual: median over the accepted photos; None without any. grades: photos by grade, A to F."""

    num_photos: int
    num_accepted: int
    num_refused: int
    median_rel_residual: float | None
    grades: dict[str, int] = field(default_factory=dict)


def report_path(workspace: Workspace) -> Path:
    """The network's kind of output, and of each photo its grade, the fit, and why it was refused."""
    return workspace.aligned_depth / "report.json"


def sigma_path(workspace: Workspace, stem: str) -> Path:
    """Standard deviation of the aligned depth: float32 (H, W), scene units, 0 = invalid."""
    return workspace.aligned_depth / f"{stem}_sigma.npy"


def overlay_path(workspace: Workspace, stem: str) -> Path:
    """Picture of residuals at keypoints, depth and sigma."""
    return workspace.aligned_depth / "overlays" / f"{stem}.jpg"


def inputs(workspace: Workspace, options: Options) -> list[Path]:
    return [workspace.undistorted_sparse, workspace.mono_depth]


def outputs(workspace: Workspace, options: Options) -> list[Path]:
    return [workspace.aligned_depth]


def run(workspace: Workspace, options: Options) -> Summary:
    """Writes ``depth/aligned``: depth and sigma of each accepted photo, an overlay of each, and ``report.json``.

    Raises:
        DepthrfError: A depth map is damaged.
    """
    from depthrf.io.colmap import load_scene

    fresh_dir(workspace.aligned_depth)
    meta_path = workspace.mono_depth / "meta.json"
    if not meta_path.is_file():
        write_json(report_path(workspace), {"kind": None, "photos": {}})
        return Summary(0, 0, 0, None)
    scene = load_scene(workspace.undistorted_sparse)
    views = [v for v in scene.views if (workspace.mono_depth / f"{v.stem}.npy").is_file()]
    found = _align_all(workspace, views, scene.depths, read_json(meta_path).get("kind"), options.seed)
    for view, alignment in console.track(list(zip(views, found, strict=True)), "writing aligned depth"):
        _write(workspace, view, alignment, scene.depths[view.name])
        if not alignment.accepted:
            console.warn(f"no monocular depth for {view.name}: {alignment.reason}")
    kind = found[0].kind if found else None
    rows = {v.stem: _row(a) for v, a in zip(views, found, strict=True)}
    write_json(report_path(workspace), {"kind": kind, "photos": rows})
    return _summary(found)


def _align_all(
    workspace: Workspace, views: list[View], keypoints: dict[str, SparseDepths], kind: str | None, seed: int
) -> list[PhotoAlignment]:
    import numpy as np

    from depthrf.depth.alignment import KINDS
    from depthrf.depth.joint_alignment import align_photos
    from depthrf.depth.photo_alignment import Anchors
    from depthrf.io.depth_maps import read_map

    return align_photos(
        [read_map(workspace.mono_depth / f"{view.stem}.npy").astype(np.float64) for view in views],
        [Anchors.of_keypoints(keypoints[view.name]) for view in views],
        views,
        kind=kind if kind in KINDS else None,
        generator=np.random.default_rng(seed),
    )


def _write(workspace: Workspace, view: View, alignment: PhotoAlignment, keypoints: SparseDepths) -> None:
    import numpy as np

    from depthrf.io.depth_maps import read_map, write_map
    from depthrf.io.depth_pictures import draw_alignment
    from depthrf.io.images import write_jpeg

    prediction = read_map(workspace.mono_depth / f"{view.stem}.npy")
    aligned = _with_edges(alignment.depth(prediction.astype(np.float64)), view.camera.fx)
    if alignment.accepted:
        write_map(workspace.aligned_depth / f"{view.stem}.npy", aligned.depth)
        write_map(sigma_path(workspace, view.stem), aligned.sigma)
    photo = workspace.undistorted_images / view.name
    if photo.is_file():
        picture = draw_alignment(photo, prediction, aligned, keypoints, f"{view.name}: {_verdict(alignment)}")
        write_jpeg(overlay_path(workspace, view.stem), picture)


def _with_edges(aligned: DepthPrior, focal_px: float) -> DepthPrior:
    import numpy as np

    from depthrf.depth.merging import edge_sigma
    from depthrf.geometry.camera import DepthPrior

    sigma: NDArray[np.float32] = np.hypot(aligned.sigma, edge_sigma(aligned.depth, focal_px))
    return DepthPrior(aligned.depth, np.where(aligned.depth > 0, sigma, np.float32(0.0)))


def _verdict(alignment: PhotoAlignment) -> str:
    if not alignment.accepted:
        return f"grade F, {alignment.reason}"
    text = f"grade {alignment.grade}, {alignment.num_agreeing} of {alignment.num_used} keypoints agree"
    lent = f", {alignment.num_borrowed} depths from neighbours" if alignment.num_borrowed else ""
    return f"{text}{lent}, sigma {alignment.typical_sigma:.1%} of depth"


def _row(alignment: PhotoAlignment) -> dict[str, Any]:
    names = ("kind", "grade", "accepted", "reason", "num_used", "num_agreeing", "num_borrowed", "median_rel_residual")
    row = {name: getattr(alignment, name) for name in (*names, "typical_sigma")}
    fit = alignment.fit
    if fit is None:
        return row
    return {**row, "scale": fit.scale, "shift": fit.shift, "correction": fit.smoothness, "noise": fit.noise}


def _summary(found: list[PhotoAlignment]) -> Summary:
    import numpy as np

    accepted = [a.median_rel_residual for a in found if a.accepted]
    grades = {g: n for g in "ABCDF" if (n := sum(a.grade == g for a in found))}
    median = float(np.median(accepted)) if accepted else None
    return Summary(len(found), len(accepted), len(found) - len(accepted), median, grades)
