from __future__ import annotations

import numpy as np
import pytest
import torch

from depthrf.nerf.fields import encoding


def test_frustum_gaussian_matches_sampling() -> None:
    """Moments of points drawn uniformly from the cone between two planes."""
    rng = np.random.default_rng(0)
    direction, radius, t0, t1 = np.array([0.3, -0.2, 1.0]), 0.15, 1.0, 1.8
    n = 400_000
    t = (t0**3 + rng.random(n) * (t1**3 - t0**3)) ** (1 / 3)  # area grows as t^2
    angle, r = 2 * np.pi * rng.random(n), radius * t * np.sqrt(rng.random(n))
    axis = direction / np.linalg.norm(direction)
    u = np.cross(axis, [1.0, 0, 0])
    u /= np.linalg.norm(u)
    v = np.cross(axis, u)
    x = t[:, None] * direction + (r * np.cos(angle))[:, None] * u + (r * np.sin(angle))[:, None] * v
    mean, along, across = encoding.frustum_gaussians(
        torch.zeros(1, 3).double(),
        torch.tensor(direction)[None],
        torch.tensor([radius]).double(),
        torch.tensor([[t0, t1]]).double(),
    )
    outer = np.outer(direction, direction)
    covariance = float(along) * outer + float(across) * (np.eye(3) - outer / (direction @ direction))
    np.testing.assert_allclose(mean[0, 0], x.mean(0), atol=2e-3)
    np.testing.assert_allclose(covariance, np.cov(x.T), atol=6e-4)


def test_integrated_encoding_is_the_expectation() -> None:
    torch.manual_seed(0)
    mean, std = torch.tensor([[0.3, -0.7, 1.1]]).double(), torch.tensor([[0.2, 0.05, 0.4]]).double()
    samples = mean + std * torch.randn(400_000, 3, dtype=torch.float64)
    scales = 2.0 ** torch.arange(4, dtype=torch.float64)
    angle = (samples[:, None, :] * scales[:, None]).flatten(1)
    expected = torch.cat([angle.sin(), angle.cos()], dim=-1).mean(0)
    torch.testing.assert_close(encoding.integrated_encoding(mean, std**2, 4)[0], expected, atol=5e-3, rtol=0)


@pytest.mark.parametrize("degree", range(1, encoding.MOST_HARMONICS + 1))
def test_spherical_harmonics_are_orthonormal(degree: int) -> None:
    nodes, weights = np.polynomial.legendre.leggauss(degree + 1)  # exact for what a product of two of them can be
    z, angle = np.meshgrid(nodes, np.linspace(0, 2 * np.pi, 2 * degree + 1, endpoint=False), indexing="ij")
    across = np.sqrt(1 - z**2)
    v = torch.from_numpy(np.stack([across * np.cos(angle), across * np.sin(angle), z], axis=-1))
    area = torch.from_numpy(weights * 2 * np.pi / (2 * degree + 1))[:, None, None]
    y = encoding.spherical_harmonics(v, degree)
    assert y.shape[-1] == (degree + 1) ** 2 - 1
    torch.testing.assert_close((area * y).sum((0, 1)), torch.zeros(y.shape[-1]).double(), atol=1e-6, rtol=0)
    gram = ((area * y)[..., None] * y[..., None, :]).sum((0, 1))
    torch.testing.assert_close(gram, torch.eye(y.shape[-1]).double(), atol=1e-6, rtol=0)


def test_encodings_of_degree_zero_are_empty_or_identity() -> None:
    v = torch.tensor([[0.0, 0.0, 1.0]])
    assert encoding.spherical_harmonics(v, 0).shape == (1, 0)
    assert torch.equal(encoding.positional_encoding(v, 0), v)
