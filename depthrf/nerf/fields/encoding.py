"""Encodings of conical frustums, positions and view directions."""

from __future__ import annotations

import torch
from torch import Tensor

MOST_HARMONICS = 4
"""Highest degree of :func:`spherical_harmonics`."""


def frustum_gaussians(origins: Tensor, directions: Tensor, radii: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Means and variances of the conical frustums between the edges ``t`` (mip-NeRF eqs. 7-8).

    Args:
        origins: (R, 3). directions: (R, 3), camera-z is 1, so ``t`` is z-depth. radii: (R,) cone radius at t = 1.
        t: (R, S+1) edges.

    Returns:
        Means (R, S, 3), the variance of t along the ray (R, S), and the variance of length across it (R, S).
    """
    mid, half = 0.5 * (t[:, 1:] + t[:, :-1]), 0.5 * (t[:, 1:] - t[:, :-1])
    # The stable forms of mip-NeRF's eq. 7: no difference of large powers of t.
    base = 3.0 * mid**2 + half**2
    t_mean = mid + 2.0 * mid * half**2 / base
    t_var = half**2 / 3.0 - (4.0 / 15.0) * half**4 * (12.0 * mid**2 - half**2) / base**2
    r_var = radii[:, None] ** 2 * (mid**2 / 4.0 + (5.0 / 12.0) * half**2 - (4.0 / 15.0) * half**4 / base)
    return origins[:, None, :] + t_mean[..., None] * directions[:, None, :], t_var, r_var


def integrated_encoding(mean: Tensor, variance: Tensor, degree: int) -> Tensor:
    """E[sin(2^l x)], E[cos(2^l x)] of Gaussians with diagonal ``variance``, l < degree (mip-NeRF eq. 14).

    (..., 3), (..., 3) -> (..., 6 * degree).
    """
    scales = 2.0 ** torch.arange(degree, device=mean.device, dtype=mean.dtype)
    angle = (mean[..., None, :] * scales[:, None]).flatten(-2)
    fade = torch.exp(-0.5 * (variance[..., None, :] * scales[:, None] ** 2).flatten(-2))
    return torch.cat([fade * torch.sin(angle), fade * torch.cos(angle)], dim=-1)


def positional_encoding(x: Tensor, degree: int) -> Tensor:
    """x and sin, cos of 2^l x for l < degree. (..., D) -> (..., D * (1 + 2 * degree))."""
    scales = 2.0 ** torch.arange(degree, device=x.device, dtype=x.dtype)
    angle = (x[..., None, :] * scales[:, None]).flatten(-2)
    return torch.cat([x, torch.sin(angle), torch.cos(angle)], dim=-1)


def spherical_harmonics(viewdirs: Tensor, degree: int) -> Tensor:
    """Real spherical harmonics of unit vectors up to ``degree``, without the constant. (..., 3) -> (..., d)."""
    if degree == 0:
        return viewdirs[..., :0]
    x, y, z = viewdirs.unbind(-1)
    xy, yz, xz, xx, yy, zz = x * y, y * z, x * z, x * x, y * y, z * z
    parts = [0.48860251 * y, 0.48860251 * z, 0.48860251 * x]
    if degree >= 2:
        parts += [1.09254843 * xy, 1.09254843 * yz, 0.94617470 * zz - 0.31539157, 1.09254843 * xz]
        parts += [0.54627422 * (xx - yy)]
    if degree >= 3:
        parts += [0.59004359 * y * (3.0 * xx - yy), 2.89061144 * xy * z, 0.45704580 * y * (5.0 * zz - 1.0)]
        parts += [0.37317633 * z * (5.0 * zz - 3.0), 0.45704580 * x * (5.0 * zz - 1.0), 1.44530572 * z * (xx - yy)]
        parts += [0.59004359 * x * (xx - 3.0 * yy)]
    if degree >= 4:
        parts += [2.50334294 * xy * (xx - yy), 1.77013077 * yz * (3.0 * xx - yy), 0.94617470 * xy * (7.0 * zz - 1.0)]
        parts += [0.66904654 * yz * (7.0 * zz - 3.0), 0.10578555 * ((35.0 * zz - 30.0) * zz + 3.0)]
        parts += [0.66904654 * xz * (7.0 * zz - 3.0), 0.47308735 * (xx - yy) * (7.0 * zz - 1.0)]
        parts += [1.77013077 * xz * (xx - 3.0 * yy), 0.62583574 * (xx * (xx - 3.0 * yy) - yy * (3.0 * xx - yy))]
    return torch.stack(parts, dim=-1)
