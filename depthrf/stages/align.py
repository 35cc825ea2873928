"""Fits each photo's monocular depth to its SfM keypoints: scale and shift in the network's own space."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthrf import console
from depthrf.options import option
from depthrf.workspace import Workspace, fresh_dir, read_json, write_json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from depthrf.depth.alignment import AffineFit
    from depthrf.geometry.camera import SparseDepths

REQUIRES = ("sfm", "depth")


@dataclass(frozen=True)
class Options:
    seed: int = option(0, "seed of the robust fits")


@dataclass(frozen=True)
class Summary:
    """median_rel_residual: median over the accepted photos; None without any."""

    num_photos: int
    num_accepted: int
    num_refused: int
    median_rel_residual: float | None


def report_path(workspace: Workspace) -> Path:
    """The network's kind of output, and of each photo the fit and whether it was accepted."""
    return workspace.aligned_depth / "report.json"


def sigma_path(workspace: Workspace, stem: str) -> Path:
    """Standard deviation of the aligned depth: float32 (H, W), scene units, 0 = invalid."""
    return workspace.aligned_depth / f"{stem}_sigma.npy"


def inputs(workspace: Workspace, options: Options) -> list[Path]:
    return [workspace.undistorted_sparse, workspace.mono_depth]


def outputs(workspace: Workspace, options: Options) -> list[Path]:
    return [workspace.aligned_depth]


def run(workspace: Workspace, options: Options) -> Summary:
    """Writes ``depth/aligned/<stem>.npy`` and its sigma for each accepted photo, and ``depth/aligned/report.json``.

    Raises:
        DepthrfError: A depth map is damaged.
    """
    import numpy as np

    from depthrf.io.colmap import load_scene
    from depthrf.io.depth_maps import read_map, write_map

    fresh_dir(workspace.aligned_depth)
    meta_path = workspace.mono_depth / "meta.json"
    if not meta_path.is_file():
        write_json(report_path(workspace), {"kind": None, "photos": {}})
        return Summary(0, 0, 0, None)
    meta = read_json(meta_path)
    scene = load_scene(workspace.undistorted_sparse)
    maps = [(v, p) for v in scene.views if (p := workspace.mono_depth / f"{v.stem}.npy").is_file()]
    generator = np.random.default_rng(options.seed)
    fits: dict[str, AffineFit] = {}
    for view, path in console.track(maps, "aligning depth"):
        prediction = read_map(path).astype(np.float64)
        fit, depth, sigma = _align(prediction, scene.depths[view.name], view.camera.fx, meta["kind"], generator)
        fits[view.stem] = fit
        if fit.accepted:
            write_map(workspace.aligned_depth / f"{view.stem}.npy", depth)
            write_map(sigma_path(workspace, view.stem), sigma)
        else:
            console.warn(f"no monocular depth for {view.name}: {fit.reason}")
    write_json(report_path(workspace), {"kind": meta["kind"], "photos": {k: _row(f) for k, f in fits.items()}})
    accepted = [f.median_rel_residual for f in fits.values() if f.accepted]
    median = float(np.median(accepted)) if accepted else None
    return Summary(len(fits), len(accepted), len(fits) - len(accepted), median)


def _align(
    prediction: NDArray[np.float64], sparse: SparseDepths, focal_px: float, kind: str, generator: np.random.Generator
) -> tuple[AffineFit, NDArray[np.float32], NDArray[np.float32]]:
    """The fit, and depth and sigma (H, W) in scene units, 0 = invalid."""
    import numpy as np

    from depthrf.depth.alignment import aligned_sigma, fit_affine
    from depthrf.depth.merging import edge_sigma, good_keypoints

    height, width = prediction.shape
    good = good_keypoints(sparse, width, height, max_relative_sigma=0.2)
    column, row = np.floor(sparse.xy[good]).astype(np.int64).T.reshape(2, -1)
    at_keypoints, depth_of_keypoints = prediction[row, column], sparse.depth[good]
    fit = fit_affine(at_keypoints, depth_of_keypoints, sparse.sigma[good], kind=kind, generator=generator)
    depth = fit.apply(prediction).astype(np.float32)
    if not fit.accepted:
        return fit, depth, np.zeros_like(depth)
    sigma = np.hypot(aligned_sigma(fit, prediction, at_keypoints, depth_of_keypoints), edge_sigma(depth, focal_px))
    return fit, depth, np.where(depth > 0, sigma, np.float32(0.0))


def _row(fit: AffineFit) -> dict[str, Any]:
    names = ("scale", "shift", "num_used", "num_inliers", "median_rel_residual", "accepted", "reason")
    return {name: getattr(fit, name) for name in names}
