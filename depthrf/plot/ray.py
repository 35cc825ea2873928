"""The depth bound on one ray: cumulative weights W, the Gaussian CDFs that bound them, and what is penalised."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from depthrf.errors import UsageError
from depthrf.records import read_record
from depthrf.storage import atomic_path
from depthrf.workspace import Workspace

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from depthrf.geometry.camera import View
    from depthrf.io.trained_field import TrainedField
    from depthrf.nerf.options import LossOptions

Array = NDArray[np.float64]

_W, _UPPER, _LOWER, _EARLY, _LATE = "#1a202c", "#2b6cb0", "#2f855a", "#e53e3e", "#dd6b20"


@dataclass(frozen=True)
class RayBound:
    """One ray, in scene units: interval edges (S+1,), weights (S,), prior depth and sigma (0 = none), and the photo."""

    view: str
    pixel: tuple[float, float]
    edges: Array
    weights: Array
    depth: float
    sigma: float
    options: LossOptions
    photo: NDArray[np.uint8]

    def bounds(self, t: Array) -> tuple[Array, Array, NDArray[np.bool_]]:
        """Upper and lower bounds on W at depths ``t`` (N,), and which of these depths must be empty."""
        import torch

        from depthrf.nerf.training.losses import cdf_bounds

        depth = torch.tensor([[self.depth]], dtype=torch.float64)
        sigma = torch.tensor([[self.sigma]], dtype=torch.float64)
        upper, lower, empty = cdf_bounds(torch.from_numpy(t)[None], depth, sigma, self.options)
        return upper[0].numpy(), lower[0].numpy(), empty[0].numpy()


def trace(workspace: Workspace, view_name: str, pixel: tuple[float, float]) -> RayBound:
    """The trained field on the ray through ``pixel`` (x, y) of the undistorted photo ``view_name``.

    Raises:
        UsageError: There is no such view or pixel.
    """
    import torch

    from depthrf.io.photos.images import read_rgb
    from depthrf.io.poses.transforms_json import load_views
    from depthrf.io.trained_field import load_field
    from depthrf.nerf.options import LossOptions
    from depthrf.options import build

    if not workspace.checkpoint.is_file():
        raise UsageError(f"{workspace.root} has no trained field. Run: depthrf train {workspace.root}")
    train, test = load_views(workspace.transforms)
    views = {view.stem: view for view in (*train, *test)} | {view.name: view for view in (*train, *test)}
    if view_name not in views:
        names = ", ".join(sorted(view.name for view in (*train, *test))[:8])
        raise UsageError(f"No view {view_name!r} in {workspace.root}; there are {names}, ...")
    view = views[view_name]
    x, y = pixel
    if not (0 <= x < view.camera.width and 0 <= y < view.camera.height):
        raise UsageError(
            f"Pixel {x:g},{y:g} is outside {view.name}, which is {view.camera.width}x{view.camera.height}."
        )
    field = load_field(workspace.checkpoint, torch.device("cpu"))
    record = read_record(workspace.record("train"))
    edges, weights = _weights(field, view, pixel)
    depth, sigma = _prior(workspace, field, view, pixel)
    return RayBound(
        view=view.name,
        pixel=pixel,
        edges=edges,
        weights=weights,
        depth=depth,
        sigma=sigma,
        options=build(LossOptions, record.options.get("loss", {}) if record else {}, "records/train.json"),
        photo=read_rgb(workspace.undistorted_images / view.name),
    )


def _weights(field: TrainedField, view: View, pixel: tuple[float, float]) -> tuple[Array, Array]:
    """Edges in scene units, and weights, of the field's samples as rendering places them."""
    import torch

    from depthrf.nerf.normalise import normalise_view
    from depthrf.nerf.rays.batch import CameraRays

    at_size = normalise_view(view.with_camera(view.camera.fitted(field.max_side)), field.normalised_from_scene)
    ratio = at_size.camera.width / view.camera.width
    cameras = CameraRays([at_size], field.bounds, torch.device("cpu"))
    zero = torch.zeros(1)
    x = torch.tensor([pixel[0] * ratio], dtype=torch.float32)
    y = torch.tensor([pixel[1] * ratio], dtype=torch.float32)
    batch = cameras.batch(torch.zeros(1, dtype=torch.int64), x, y, torch.zeros((1, 3)), zero, zero)
    with torch.no_grad():
        level = field.model(replace(batch, camera_idx=batch.camera_idx - 1)).levels[-1]
    edges = level.t[0].double().numpy() / field.normalised_from_scene.scale
    return edges, level.weights[0].double().numpy()


def _prior(workspace: Workspace, field: TrainedField, view: View, pixel: tuple[float, float]) -> tuple[float, float]:
    """The prior depth and sigma that training used at the pixel; (0, 0) if there was none."""
    from depthrf.io.depth.depth_maps import read_prior
    from depthrf.nerf.rays.pixel_store import resize_prior

    path = workspace.prior_depth / f"{view.stem}.npz"
    if not path.is_file():
        return 0.0, 0.0
    camera = view.camera.fitted(field.max_side)
    prior = resize_prior(read_prior(path)[0], camera)
    ratio = camera.width / view.camera.width
    row = min(int(pixel[1] * ratio), camera.height - 1)
    column = min(int(pixel[0] * ratio), camera.width - 1)
    return float(prior.depth[row, column]), float(prior.sigma[row, column])


def write_png(path: Path, ray: RayBound) -> None:
    """The photo with the pixel, and W against depth with its bounds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 5), dpi=100)
    left, right = figure.subplots(1, 2, width_ratios=(1, 2.2))
    left.imshow(ray.photo)
    left.plot(*ray.pixel, "+", color="white", markersize=16, markeredgewidth=4)
    left.plot(*ray.pixel, "+", color=_EARLY, markersize=16, markeredgewidth=2)
    left.set_axis_off()
    left.set_title(f"{ray.view}, pixel {ray.pixel[0]:g}, {ray.pixel[1]:g}", fontsize=10)
    _draw_ray(right, ray)
    figure.tight_layout()
    with atomic_path(path) as temporary:
        figure.savefig(temporary)


def _draw_ray(axes: Axes, ray: RayBound) -> None:
    cumulative = np.concatenate([[0.0], np.cumsum(ray.weights)])
    axes.bar(
        ray.edges[:-1],
        ray.weights,
        np.diff(ray.edges),
        align="edge",
        color="#cbd5e0",
        edgecolor="white",
        label="weight w",
    )
    axes.plot(ray.edges, cumulative, color=_W, marker=".", markersize=5, linewidth=1.6, label="cumulative weight W")
    if ray.depth > 0:
        _draw_bounds(axes, ray, cumulative)
    first, last = _depth_range(ray)
    axes.set(xlim=(first, last), ylim=(-0.02, 1.05), xlabel="z-depth, scene units", ylabel="cumulative weight")
    title = f"prior {ray.depth:.3f} ± {ray.sigma:.3f}" if ray.depth > 0 else "no depth prior on this ray"
    axes.set_title(title, fontsize=10)
    axes.legend(fontsize=8, loc="center right")
    axes.spines[["top", "right"]].set_visible(False)


def _draw_bounds(axes: Axes, ray: RayBound, cumulative: Array) -> None:
    t = np.linspace(ray.edges[0], ray.edges[-1], 4000)
    upper, lower, empty = ray.bounds(t)
    at_t = np.interp(t, ray.edges, cumulative)
    before = t < ray.depth
    axes.plot(t[before], upper[before], color=_UPPER, linewidth=1.2, label="upper bound Φ((t − D + b) / ε)")
    axes.plot(t[~before], lower[~before], color=_LOWER, linewidth=1.2, label="lower bound Φ((t − D − b) / ε)")
    early, late = before & ~empty & (at_t > upper), ~before & (at_t < lower)
    axes.fill_between(t, upper, at_t, where=early, color=_EARLY, alpha=0.35, linewidth=0, label="penalised: too early")
    axes.fill_between(t, at_t, lower, where=late, color=_LATE, alpha=0.35, linewidth=0, label="penalised: too late")
    if empty.any():
        axes.axvspan(ray.edges[0], t[empty][-1], color=_UPPER, alpha=0.06, linewidth=0, label="empty: w² penalised")
    axes.axvline(ray.depth, color=_UPPER, linestyle=":", linewidth=1)


def _depth_range(ray: RayBound) -> tuple[float, float]:
    """The depths to draw: where W rises and where the prior lies, with a margin."""
    total = np.cumsum(ray.weights)
    marks = list(ray.edges[1:][(total > 0.01) & (total < 0.99 * max(total[-1], 1e-9))])
    if ray.depth > 0:
        marks.append(ray.depth)
    if not marks:
        marks = [ray.edges[0], ray.edges[-1]]
    margin = max(0.5 * (max(marks) - min(marks)), 0.15 * max(marks))
    return max(ray.edges[0], min(marks) - margin), min(ray.edges[-1], max(marks) + margin)
