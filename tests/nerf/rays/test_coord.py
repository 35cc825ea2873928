from __future__ import annotations

import pytest
import torch

from depthrf.nerf.rays import coord


def test_contraction_is_identity_inside_and_approaches_two() -> None:
    inside = torch.randn(100, 3, dtype=torch.float64)
    inside = inside / inside.norm(dim=-1, keepdim=True) * torch.rand(100, 1, dtype=torch.float64)
    torch.testing.assert_close(coord.contract(inside), inside)
    far = torch.tensor([[1e6, 0.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(
        coord.contract(far), torch.tensor([[2.0, 0.0, 0.0]], dtype=torch.float64), atol=2e-6, rtol=0
    )


def test_contraction_gradient_is_finite_at_the_origin() -> None:
    x = torch.zeros(1, 3, requires_grad=True)
    coord.contract(x).sum().backward()
    torch.testing.assert_close(x.grad, torch.ones(1, 3))


def test_contracted_gaussian_uses_the_jacobian_of_the_contraction() -> None:
    torch.manual_seed(0)
    mean, directions = torch.randn(20, 1, 3, dtype=torch.float64) * 2, torch.randn(20, 3, dtype=torch.float64)
    along, across = torch.rand(2, 20, 1, dtype=torch.float64)
    contracted, got = coord.contract_gaussian(mean, directions, along, across)
    for i in range(20):
        jacobian = torch.autograd.functional.jacobian(lambda x: coord.contract(x[None])[0], mean[i, 0])
        outer = torch.outer(directions[i], directions[i])
        round_disc = torch.eye(3, dtype=torch.float64) - outer / (directions[i] @ directions[i])
        covariance = along[i] * outer + across[i] * round_disc
        torch.testing.assert_close(got[i, 0], (jacobian @ covariance @ jacobian.T).diagonal())
    torch.testing.assert_close(contracted, coord.contract(mean))


def test_thin_gaussians_keep_their_width_under_autocast() -> None:
    """Half precision would make some variances negative, whose encoding is infinite."""
    directions = torch.nn.functional.normalize(torch.randn(200, 3, generator=torch.Generator().manual_seed(0)), dim=-1)
    mean, along, across = 3.0 * directions[:, None], torch.full((200, 1), 1e-2), torch.full((200, 1), 1e-8)
    exact = coord.contract_gaussian(*(x.double() for x in (mean, directions, along, across)))[1]
    with torch.autocast("cpu", torch.bfloat16):
        _, variance = coord.contract_gaussian(mean, directions, along, across)
    torch.testing.assert_close(variance.double(), exact, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("spacing", ["linear", "power", "inverse"])
def test_spacing_round_trip_and_ends(spacing: str) -> None:
    near, far = torch.tensor([0.1, 0.5], dtype=torch.float64), torch.tensor([4.0, 90.0], dtype=torch.float64)
    s = torch.linspace(0, 1, 17, dtype=torch.float64).expand(2, -1)
    t = coord.t_from_s(s, near, far, spacing)
    torch.testing.assert_close(t[:, 0], near)
    torch.testing.assert_close(t[:, -1], far)
    assert (t[:, 1:] > t[:, :-1]).all()
    forward, _ = coord._SPACINGS[spacing]
    first, last = forward(near)[:, None], forward(far)[:, None]
    torch.testing.assert_close((forward(t) - first) / (last - first), s)


def test_power_spacing_is_linear_near_the_camera() -> None:
    """Zip-NeRF's P(t) has slope 1 at t = 0."""
    t = torch.tensor([1e-4], dtype=torch.float64)
    assert float(coord._power(t)) == pytest.approx(1e-4, rel=1e-3)
