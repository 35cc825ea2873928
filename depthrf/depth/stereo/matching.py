"""How well photos match the reference photo at hypothetical depths: NCC over surface-following windows.

Notation: q is inverse z-depth in the reference photo. A pixel x (homogeneous, pixels) of the reference lies in another
photo at A x + q b, with A = K' R K^-1 and b = K' t for the relative pose (R, t). Windows are warped pixel by pixel with
the q of each pixel, so that a window on a slanted or curved base surface follows that surface.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from depthrf.geometry.camera import View
from depthrf.geometry.transforms import invert_rigid

# Grey values in [0, 1]. A window whose contrast is below this cannot be told from sensor noise and JPEG blocks.
_NOISE = 0.012


@dataclass(frozen=True)
class Photo:
    """gray: (H, W) in [0, 1], of the size of ``view.camera``."""

    gray: Tensor
    view: View


@dataclass(frozen=True)
class Window:
    """Statistics of the reference photo over windows: mean and variance, (H, W) each."""

    mean: Tensor
    variance: Tensor


def box_mean(values: Tensor, radius: int) -> Tensor:
    """Mean over (2 radius + 1)² windows, (..., H, W); windows are cut off at the border."""
    # Differences of running sums, one axis after the other: the cost does not grow with the window.
    for dim in (-1, -2):
        size = values.shape[dim]
        at = torch.arange(size, device=values.device)
        low, high = (at - radius).clamp_min(0), (at + radius + 1).clamp_max(size)
        total = torch.nn.functional.pad(values.cumsum(dim), (1, 0) if dim == -1 else (0, 0, 1, 0))
        count = (high - low).to(values.dtype)
        mean = total.index_select(dim, high) - total.index_select(dim, low)
        values = mean / (count if dim == -1 else count[:, None])
    return values


def projection(reference: View, other: View, *, device: torch.device) -> tuple[Tensor, Tensor]:
    """A (3, 3) and b (3,), float32: where pixels of the reference lie in the other photo."""
    other_from_reference = other.cam_from_world @ invert_rigid(reference.cam_from_world)
    a = other.camera.matrix @ other_from_reference[:3, :3] @ np.linalg.inv(reference.camera.matrix)
    b = other.camera.matrix @ other_from_reference[:3, 3]
    as_tensor = [torch.as_tensor(v, dtype=torch.float32, device=device) for v in (a, b)]
    return as_tensor[0], as_tensor[1]


def transfer(reference: View, other: View, q: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where pixels of the reference lie in the other photo.

    Args:
        reference: View with H x W pixels.
        other: View of any size.
        q: Inverse depth in the reference, (..., H, W) or broadcastable to it.

    Returns:
        x, y: (..., H, W) pixels. w: (..., H, W) z-depth in the other photo times q; positive in front of it.
    """
    a, b = projection(reference, other, device=q.device)
    camera = reference.camera
    y = torch.arange(camera.height, device=q.device)[:, None] + 0.5
    x = torch.arange(camera.width, device=q.device) + 0.5
    # Written out: a library's product of matrices need not have the same last bits in every run.
    far = [row[0] * x + row[1] * y + row[2] for row in a]
    w = far[2] + q * b[2]
    safe = torch.where(w > 1e-6, w, 1.0)
    return (far[0] + q * b[0]) / safe, (far[1] + q * b[1]) / safe, w


def warp(reference: View, other: Photo, q: Tensor) -> tuple[Tensor, Tensor]:
    """The other photo as the reference would see it on the surface q.

    Returns:
        Values (D, H, W), and whether they lie inside the other photo.
    """
    camera = other.view.camera
    x, y, w = transfer(reference, other.view, q)
    inside = (w > 1e-6) & (x >= 0.5) & (x <= camera.width - 0.5) & (y >= 0.5) & (y <= camera.height - 0.5)
    grid = torch.stack([x * (2.0 / camera.width) - 1.0, y * (2.0 / camera.height) - 1.0], dim=-1)
    flat = grid.reshape(1, -1, grid.shape[-2], 2)
    values = torch.nn.functional.grid_sample(
        other.gray[None, None], flat, mode="bilinear", padding_mode="border", align_corners=False
    )
    return values.reshape(x.shape), inside


def window_of(photo: Photo, radius: int) -> Window:
    """The reference's own statistics; computed once for all hypotheses."""
    gray = photo.gray - 0.5
    mean = box_mean(gray, radius)
    return Window(mean, (box_mean(gray * gray, radius) - mean * mean).clamp_min(0.0))


def ncc(reference: Photo, window: Window, other: Photo, q: Tensor, radius: int) -> tuple[Tensor, Tensor]:
    """Normalised cross-correlation with the other photo warped over surfaces.

    Unchanged by gain and offset of either photo. Flat windows give values near 0, not the correlation of their noise.

    Args:
        reference, other: The two photos.
        window: :func:`window_of` the reference, with the same radius.
        q: Inverse depth, (D, H, W) or (D, 1, 1).
        radius: Of the window, pixels.

    Returns:
        NCC (D, H, W) in [-1, 1], and where it is valid: inside the other photo.
    """
    values, inside = warp(reference.view, other, q)
    values = values - 0.5
    gray = reference.gray - 0.5
    mean = box_mean(values, radius)
    variance = (box_mean(values * values, radius) - mean * mean).clamp_min(0.0)
    covariance = box_mean(values * gray, radius) - mean * window.mean
    floor = _NOISE**2
    return covariance / torch.sqrt((window.variance + floor) * (variance + floor)), inside


def matching_score(reference: Photo, others: list[Photo], q: Tensor, *, radius: int, best: int) -> Tensor:
    """Mean NCC over the ``best`` photos that match best at each pixel and hypothesis, (D, H, W).

    A pixel hidden in some photos is visible in others; photos in which it lies outside do not count, and where it lies
    outside of all the score is 0.
    """
    window = window_of(reference, radius)
    shape = (q.shape[0], *reference.gray.shape)
    top = [torch.full(shape, -1.0, device=q.device) for _ in range(min(best, len(others)))]
    for other in others:
        score, inside = ncc(reference, window, other, q, radius)
        score = torch.where(inside, score.clamp_min(0.0), -1.0)
        for rank, held in enumerate(top):
            top[rank], score = torch.maximum(held, score), torch.minimum(held, score)
    total, count = torch.zeros(shape, device=q.device), torch.zeros(shape, device=q.device)
    for held in top:
        total += held.clamp_min(0.0)
        count += held >= 0.0
    return total / count.clamp_min(1.0)
