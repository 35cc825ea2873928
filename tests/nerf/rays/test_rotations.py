from __future__ import annotations

import pytest
import torch

from depthrf.nerf.rays.rotations import rotation_matrices


def test_rotations_are_matrix_exponentials() -> None:
    generator = torch.Generator().manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(8, 3, generator=generator, dtype=torch.float64), dim=-1)
    for angle in (0.0, 1e-9, 1e-4, 0.1, 3.0, 7.0):
        vectors = angle * directions
        zero = torch.zeros(8, dtype=torch.float64)
        x, y, z = vectors.T
        cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).view(8, 3, 3)
        expected = torch.linalg.matrix_exp(cross)
        torch.testing.assert_close(rotation_matrices(vectors), expected, atol=1e-12, rtol=0.0)
        single = rotation_matrices(vectors.float()).double()
        torch.testing.assert_close(single, expected, atol=2e-6, rtol=0.0)


@pytest.mark.parametrize("angle", [0.0, 1e-12, 1e-7, 1e-4, 0.5])
def test_gradient_of_a_rotation_is_finite_and_that_of_the_cross_product_near_zero(angle: float) -> None:
    vector = torch.tensor([0.6 * angle, 0.0, 0.8 * angle], requires_grad=True)
    point, toward = torch.tensor([1.0, -2.0, 3.0]), torch.tensor([0.3, 0.5, -0.2])
    (rotation_matrices(vector) @ point @ toward).backward()
    assert torch.isfinite(vector.grad).all()
    if angle < 1e-3:
        torch.testing.assert_close(vector.grad, torch.linalg.cross(point, toward), atol=1e-3, rtol=0.0)
