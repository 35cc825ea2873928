"""Cross-checks of depth maps: depth that several photos agree on is kept and averaged, the rest becomes a hole.

A pixel of photo i with depth z is a point. In photo j the point has depth z_ij, and j's own map says z_j there.
They agree when they differ by less than their uncertainty allows. A much larger z_j means that j sees through the
point, which is then wrong; a much smaller one means that the point is hidden from j, which says nothing about it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from depthrf.depth.stereo.matching import transfer
from depthrf.geometry.camera import View
from depthrf.geometry.transforms import invert_rigid

# Farthest over nearest depth of neighbouring pixels of one surface.
_ONE_SURFACE = 1.03
# Relative standard deviation that no match goes below: poses and lens are not known better.
_LEAST_SIGMA = 0.003


@dataclass(frozen=True)
class DepthMap:
    """depth, sigma: (H, W) of ``view.camera``'s size, scene units, 0 = none."""

    view: View
    depth: Tensor
    sigma: Tensor


@dataclass(frozen=True)
class Tolerance:
    """Relative depth difference at which two photos still agree: 3 sigma, between ``least`` and ``most``."""

    least: float = 0.01
    most: float = 0.03


def tolerance_of(relative_sigma: float) -> Tolerance:
    """The tolerance for photos whose keypoints have this median relative standard deviation of depth.

    Poses or a lens that do not quite fit the photos show in the keypoints first, and let depths of the same surface
    differ as much.
    """
    least = min(max(1.5 * relative_sigma, 0.01), 0.04)
    return Tolerance(least, 3.0 * least)


def fuse(own: DepthMap, others: list[DepthMap], tolerance: Tolerance, *, min_agree: int) -> DepthMap:
    """The map without pixels that too few photos confirm, or that more photos see through than confirm.

    Confirmed depth is the inverse-variance mean, in inverse depth, of all photos that agree; its sigma is never below
    their standard deviation. The photos share their errors (poses, the same windows), so sigma does not fall with
    their number.

    Args:
        own: The map to check.
        others: Maps of neighbouring photos.
        tolerance: When two depths agree.
        min_agree: How many others must agree.
    """
    has = (own.depth > 0) & (own.sigma > 0)
    q = torch.where(has, 1.0 / own.depth.clamp_min(1e-12), 1.0)
    relative = torch.where(has, own.sigma * q, 1.0)
    weight = relative.clamp_min(1e-4) ** -2
    total, mean, square = weight.clone(), weight * q, weight * q * q
    agree, through = torch.zeros_like(q), torch.zeros_like(q)
    for other in others:
        q_other, relative_other, difference = _as_seen_from(own.view, other, q)
        limit = (3.0 * torch.hypot(relative, relative_other)).clamp(tolerance.least, tolerance.most)
        known = relative_other > 0
        same = known & (difference.abs() <= limit)
        agree += same
        through += known & (difference > limit)
        w = torch.where(same, relative_other.clamp_min(1e-4) ** -2, 0.0)
        total, mean, square = total + w, mean + w * q_other, square + w * q_other * q_other
    fused = mean / total
    deviation = (square / total - fused * fused).clamp_min(0.0).sqrt()
    kept = has & (agree >= min_agree) & (agree > through)
    depth = torch.where(kept, 1.0 / fused, 0.0)
    sure = torch.sqrt(relative**2 + (deviation / fused) ** 2 + _LEAST_SIGMA**2)
    return DepthMap(own.view, depth, torch.where(kept, sure * depth, 0.0))


def _as_seen_from(view: View, other: DepthMap, q: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What another map says about the points of a photo.

    Args:
        view: The photo.
        other: The other map.
        q: (H, W) inverse depth in the photo.

    Returns:
        Each (H, W): inverse depth, in the photo, of the other map's point there; its relative sigma, 0 where the map
        is empty or the point outside; relative excess of the map's depth over the point's, in the other photo.
    """
    height, width = other.depth.shape
    x, y, w = transfer(view, other.view, q)
    column, row = x.floor().long(), y.floor().long()
    inside = (w > 1e-6) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    index = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
    z_map, sigma = other.depth.ravel()[index], other.sigma.ravel()[index]
    known = inside & (z_map > 0)
    z_point = w / q
    safe = torch.where(known, z_map, 1.0)
    difference = safe / torch.where(known, z_point, 1.0) - 1.0
    # The map's point lies on the ray through the centre of its pixel; the ray through (x, y) passes close by.
    q_back = _inverse_depth_in(view, other.view, x, y, safe)
    return q_back, torch.where(known, sigma / safe, 0.0), difference


def _inverse_depth_in(view: View, other: View, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Inverse depth in ``view`` of points at pixels (x, y) and depth z of ``other``."""
    view_from_other = torch.as_tensor(
        view.cam_from_world @ invert_rigid(other.cam_from_world), dtype=z.dtype, device=z.device
    )
    camera = other.camera
    r = view_from_other[2]
    z_view = z * (r[0] * (x - camera.cx) / camera.fx + r[1] * (y - camera.cy) / camera.fy + r[2]) + r[3]
    return 1.0 / z_view.clamp_min(1e-9)


def remove_specks(depth: Tensor, *, radius: int = 3, step: float = 0.03, share: float = 0.4) -> Tensor:
    """Depth (H, W) without small specks: pixels whose window holds too little of their own surface.

    Args:
        depth: 0 = none.
        radius: Of the window, pixels.
        step: Relative depth difference within one surface.
        share: Least share of the window's pixels.
    """
    size = 2 * radius + 1
    padded = torch.nn.functional.pad(depth[None, None], (radius,) * 4)
    height, width = depth.shape
    support = torch.zeros_like(depth)
    for dy in range(size):
        for dx in range(size):
            near = padded[0, 0, dy : dy + height, dx : dx + width]
            support += (near > 0) & ((near - depth).abs() < step * depth)
    return torch.where(support >= share * size * size, depth, 0.0)


def calibration(residual: Tensor, sigma: Tensor, *, least: float = 1.0, most: float = 4.0) -> float:
    """Factor on sigma that makes it fit the residuals at keypoints.

    Where the poses do not quite fit the photos, depth is less certain than the sharpness of the match suggests.

    Args:
        residual: (K,) depth less the keypoint's.
        sigma: (K,) standard deviation of that difference.
        least, most: Limits of the factor: keypoints lie where matching is easiest, and too few prove little.
    """
    if len(residual) < 20:
        return least
    normalised = 1.4826 * float((residual.abs() / sigma).median())
    return min(max(normalised, least), most)


def enlarge(depth: Tensor, sigma: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Depth and sigma (h, w) on a finer grid of the same photo, without mixing surfaces.

    Bilinear in inverse depth where the four pixels around are one surface, else the value of the nearest pixel.
    """
    if depth.shape == (height, width):
        return depth, sigma

    def resized(values: Tensor, mode: str) -> Tensor:
        return torch.nn.functional.interpolate(values[None, None], size=(height, width), mode=mode)[0, 0]

    q = torch.where(depth > 0, 1.0 / depth.clamp_min(1e-12), 0.0)
    # Bilinear weights only reach the eight pixels around, so these must be of one surface.
    around = torch.nn.functional.pad(depth[None, None], (1, 1, 1, 1), mode="replicate")
    nearest = -torch.nn.functional.max_pool2d(-around, 3, 1)[0, 0]
    farthest = torch.nn.functional.max_pool2d(around, 3, 1)[0, 0]
    one_surface = ((nearest > 0) & (farthest < _ONE_SURFACE * nearest)).float()
    smooth = 1.0 / resized(q, "bilinear").clamp_min(1e-12)
    enlarged = torch.where(resized(one_surface, "nearest-exact") > 0, smooth, resized(depth, "nearest-exact"))
    return enlarged, resized(sigma, "nearest-exact")
