"""Brings each photo's monocular depth to the scale of the scene.

Each map is fitted to the photo's keypoints and to the pixels whose depth stereo is sure of. A photo with few of them
also borrows depth that its neighbours see.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthrf import console
from depthrf.io.depth.reports import AlignedPhoto, AlignedReport, read_mono_meta
from depthrf.options import option
from depthrf.stages.depth_sources.stereo import load_stereo_prior
from depthrf.storage import fresh_dir, write_json
from depthrf.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from depthrf.depth.aligning.photo import PhotoAlignment
    from depthrf.geometry.camera import DepthPrior, SparseDepths, SparseScene, View

HELP = "fits each monocular depth map to the photo's keypoints and stereo depth."
REQUIRES = ("sfm", "depth")


@dataclass(frozen=True)
class Options:
    seed: int = option(0, "seed of the robust fits", least=0, most=2**31 - 1)


@dataclass(frozen=True)
class Summary:
    """median_rel_residual: median over the accepted photos; None without any. grades: photos by grade, A to F."""

    num_photos: int
    num_accepted: int
    num_refused: int
    median_rel_residual: float | None
    grades: dict[str, int] = field(default_factory=dict)


def sigma_path(workspace: Workspace, stem: str) -> Path:
    """Standard deviation of the aligned depth: float32 (H, W), scene units, 0 = invalid."""
    return workspace.aligned_depth / f"{stem}_sigma.npy"


def overlay_path(workspace: Workspace, stem: str) -> Path:
    """Picture of residuals at keypoints, depth and sigma."""
    return workspace.aligned_depth / "overlays" / f"{stem}.jpg"


def inputs(workspace: Workspace, options: Options) -> list[Path]:
    return [workspace.undistorted_sparse, workspace.mono_depth, workspace.stereo_depth]


def outputs(workspace: Workspace, options: Options) -> list[Path]:
    return [workspace.aligned_depth]


def run(workspace: Workspace, options: Options) -> Summary:
    """Writes ``depth/aligned``: depth and sigma of each accepted photo, an overlay of each, and ``report.json``.

    Raises:
        DepthrfError: A depth map is damaged.
    """
    from depthrf.io.poses.colmap import load_scene

    fresh_dir(workspace.aligned_depth)
    meta = read_mono_meta(workspace.mono_meta)
    if meta is None:
        write_json(workspace.aligned_report, AlignedReport(None))
        return Summary(0, 0, 0, None)
    scene = load_scene(workspace.undistorted_sparse)
    views = [v for v in scene.views if (workspace.mono_depth / f"{v.stem}.npy").is_file()]
    found = _align_all(workspace, replace(scene, views=views), meta.kind, options.seed)
    for view, alignment in console.track(list(zip(views, found, strict=True)), "writing aligned depth"):
        _write(workspace, view, alignment, scene.depths[view.name])
        if not alignment.accepted:
            console.warn(f"no monocular depth for {view.name}: {alignment.reason}")
    kind = found[0].kind if found else None
    rows = {v.stem: _row(a) for v, a in zip(views, found, strict=True)}
    write_json(workspace.aligned_report, AlignedReport(kind, rows))
    return _summary(found)


def _align_all(workspace: Workspace, scene: SparseScene, kind: str, seed: int) -> list[PhotoAlignment]:
    import numpy as np

    from depthrf.depth.aligning.fits import KINDS
    from depthrf.depth.aligning.joint import align_photos
    from depthrf.depth.aligning.photo import Anchors
    from depthrf.depth.stereo.neighbours import compared_with
    from depthrf.io.depth.depth_maps import read_map

    return align_photos(
        _Maps(scene.views, lambda view: read_map(workspace.mono_depth / f"{view.stem}.npy").astype(np.float64)),
        [Anchors.of_keypoints(scene.depths[view.name]) for view in scene.views],
        scene.views,
        kind=kind if kind in KINDS else None,
        generator=np.random.default_rng(seed),
        stereo=_Maps(scene.views, lambda view: load_stereo_prior(workspace, view.stem, view.camera)),
        near=compared_with(scene),
    )


class _Maps(Sequence[Any]):
    """One map of each photo, read anew whenever it is asked for: those of hundreds of photos would fill the memory."""

    def __init__(self, views: Sequence[View], read: Callable[[View], Any]) -> None:
        self._views, self._read = views, read

    def __len__(self) -> int:
        return len(self._views)

    def __getitem__(self, index: Any) -> Any:
        return self._read(self._views[index])


def _write(workspace: Workspace, view: View, alignment: PhotoAlignment, keypoints: SparseDepths) -> None:
    import numpy as np

    from depthrf.io.depth.depth_maps import read_map, write_map
    from depthrf.io.draw.depth_pictures import draw_alignment
    from depthrf.io.photos.images import write_jpeg

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

    from depthrf.depth.edges import edge_sigma
    from depthrf.geometry.camera import DepthPrior

    sigma: NDArray[np.float32] = np.hypot(aligned.sigma, edge_sigma(aligned.depth, focal_px))
    return DepthPrior(aligned.depth, np.where(aligned.depth > 0, sigma, np.float32(0.0)))


def _verdict(alignment: PhotoAlignment) -> str:
    if not alignment.accepted:
        return f"grade F, {alignment.reason}"
    known = "keypoints and stereo pixels" if alignment.num_stereo else "keypoints"
    text = f"grade {alignment.grade}, {alignment.num_agreeing} of {alignment.num_used} {known} agree"
    lent = f", {alignment.num_borrowed} depths from neighbours" if alignment.num_borrowed else ""
    return f"{text}{lent}, sigma {alignment.typical_sigma:.1%} of depth"


def _row(alignment: PhotoAlignment) -> AlignedPhoto:
    fit = alignment.fit
    return AlignedPhoto(
        kind=alignment.kind,
        grade=alignment.grade,
        accepted=alignment.accepted,
        reason=alignment.reason,
        num_used=alignment.num_used,
        num_stereo=alignment.num_stereo,
        num_agreeing=alignment.num_agreeing,
        num_borrowed=alignment.num_borrowed,
        median_rel_residual=alignment.median_rel_residual,
        typical_sigma=alignment.typical_sigma,
        scale=fit.scale if fit else None,
        shift=fit.shift if fit else None,
        correction=asdict(fit.smoothness) if fit and fit.smoothness else None,
        noise=asdict(fit.noise) if fit else None,
    )


def _summary(found: list[PhotoAlignment]) -> Summary:
    import numpy as np

    accepted = [a.median_rel_residual for a in found if a.accepted]
    grades = {g: n for g in "ABCDF" if (n := sum(a.grade == g for a in found))}
    median = float(np.median(accepted)) if accepted else None
    return Summary(len(found), len(accepted), len(found) - len(accepted), median, grades)
