from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch.distributions import Normal

from depthrf.nerf.options import LossOptions, UnseenOptions
from depthrf.nerf.rays import stepfun
from depthrf.nerf.rays.batch import RayBatch
from depthrf.nerf.rays.compositing import Level, ModelOutput
from depthrf.nerf.training import losses
from depthrf.nerf.training.losses import total_loss

OPTIONS = LossOptions(surface=0.02, cdf_slack=2.0)


def level(weights: torch.Tensor, near: float = 0.5, far: float = 4.0) -> Level:
    t = torch.linspace(near, far, weights.shape[-1] + 1, dtype=weights.dtype).expand(len(weights), -1)
    s = (t - near) / (far - near)
    return Level(s, t, weights)


def random_level(rays: int = 6, bins: int = 40) -> Level:
    generator = torch.Generator().manual_seed(0)
    w = torch.rand(rays, bins, generator=generator, dtype=torch.float64) ** 3
    return level(w / (1.2 * w.sum(-1, keepdim=True)))


DEPTH = torch.tensor([1.0, 2.0, 0.0, 3.1, 0.7, 0.0], dtype=torch.float64)
SIGMA = torch.tensor([0.05, 0.2, 0.0, 0.01, 0.4, 0.0], dtype=torch.float64)


def test_cdf_equals_the_loop() -> None:
    lv = random_level()
    sums, counts = {"near": 0.0, "far": 0.0, "empty": 0.0}, {"near": 0, "far": 0, "empty": 0}
    for ray in range(6):
        depth, sigma = float(DEPTH[ray]), float(SIGMA[ray])
        if depth == 0:
            continue
        eps, slack = ((0.02 * depth) ** 2 + sigma**2) ** 0.5, 2.0 * sigma
        cumulative = 0.0
        for i in range(40):
            w, edge = float(lv.weights[ray, i]), float(lv.t[ray, i + 1])
            cumulative += w
            phi = lambda centre, e=edge, s=eps: float(Normal(0.0, 1.0).cdf(torch.tensor((e - centre) / s)))  # noqa: E731
            if edge <= depth - slack - 3 * eps:
                part, value = "empty", w**2
            elif edge < depth:
                part, value = "near", max(cumulative - phi(depth - slack), 0) ** 2
            else:
                part, value = "far", max(phi(depth + slack) - cumulative, 0) ** 2
            sums[part] += value
            counts[part] += 1
    mean = {part: sums[part] / max(counts[part], 1) for part in sums}
    expected = OPTIONS.cdf_empty * mean["empty"] + OPTIONS.cdf_bound * (mean["near"] + mean["far"])
    assert float(losses.cdf_depth(lv, DEPTH, SIGMA, OPTIONS)) == pytest.approx(expected, rel=1e-5)


def test_cdf_is_zero_for_a_ray_that_ends_like_the_prior() -> None:
    """Weights that are the Gaussian's own mass around D violate no bound, whatever the slack."""
    t = torch.linspace(0.5, 4.0, 2001, dtype=torch.float64)[None]
    eps = float(torch.hypot(torch.tensor(0.02 * 2.0), torch.tensor(0.1)))
    cdf = Normal(2.0, eps).cdf(t)
    lv = Level(t, t, cdf[:, 1:] - cdf[:, :-1])
    loss = losses.cdf_depth(lv, torch.tensor([2.0]).double(), torch.tensor([0.1]).double(), OPTIONS)
    assert float(loss) < 1e-6


def test_cdf_punishes_early_and_late_surfaces_and_ignores_errors_within_the_slack() -> None:
    t = torch.linspace(0.5, 4.0, 2001, dtype=torch.float64)[None]
    tight = dataclasses.replace(OPTIONS, cdf_slack=0.0)
    sigma = 0.1
    eps = float(torch.hypot(torch.tensor(0.02 * 2.0), torch.tensor(sigma)))

    def surface_at(z: float, options: LossOptions) -> float:
        cdf = Normal(z, eps).cdf(t)
        lv = Level(t, t, cdf[:, 1:] - cdf[:, :-1])
        return float(losses.cdf_depth(lv, torch.tensor([2.0]).double(), torch.tensor([sigma]).double(), options))

    for z in (1.8, 2.2):  # two standard deviations off
        assert surface_at(z, OPTIONS) < 1e-6
        assert surface_at(z, tight) > 1e-5
    for z in (1.2, 2.9):
        assert surface_at(z, OPTIONS) > 1e-3


def test_l2_closed_form() -> None:
    weights = torch.zeros(1, 7, dtype=torch.float64)
    weights[0, 3] = 1.0
    lv = level(weights)  # the middle interval's midpoint is 2.25
    loss = losses.l2_depth(lv, torch.tensor([2.0]).double(), torch.tensor([0.1]).double(), OPTIONS)
    assert float(loss) == pytest.approx(0.0625)


def test_urf_equals_the_loop() -> None:
    lv = random_level()
    total, rays = 0.0, 0
    for ray in range(6):
        depth, sigma = float(DEPTH[ray]), float(SIGMA[ray])
        if depth == 0:
            continue
        rays += 1
        std = ((0.02 * depth) ** 2 + sigma**2) ** 0.5
        expected = 0.0
        for i in range(40):
            w, low, high = float(lv.weights[ray, i]), float(lv.t[ray, i]), float(lv.t[ray, i + 1])
            mid = 0.5 * (low + high)
            expected += w * mid
            if abs(mid - depth) < 3 * std:
                normal = Normal(depth, std)
                mass = float(normal.cdf(torch.tensor(high)) - normal.cdf(torch.tensor(low)))
                total += (w - mass) ** 2
            elif mid < depth:
                total += w**2
        total += (expected - depth) ** 2
    assert float(losses.urf_depth(lv, DEPTH, SIGMA, OPTIONS)) == pytest.approx(total / rays, rel=1e-4)


def test_ds_nerf_is_least_when_the_ray_ends_at_the_prior() -> None:
    def at(index: int) -> float:
        weights = torch.full((1, 35), 1e-4, dtype=torch.float64)
        weights[0, index] = 0.99
        depth = level(weights).t[0, [17, 18]].mean()[None]
        return float(losses.ds_nerf_depth(level(weights), depth, torch.tensor([0.05]).double(), OPTIONS))

    assert min(range(35), key=at) == 17


@pytest.mark.parametrize("name", list(losses.DEPTH_LOSSES))
@pytest.mark.parametrize("fill", [0.0, 1e-30, 0.5, 1.0])
@pytest.mark.parametrize("valid", [True, False])
def test_depth_losses_and_gradients_are_finite(name: str, fill: float, valid: bool) -> None:
    weights = torch.zeros(4, 16)
    weights[:, 5] = fill
    weights.requires_grad_()
    depth = torch.tensor([2.0, 0.4, 5.0, 1e-6]) if valid else torch.zeros(4)
    loss = losses.DEPTH_LOSSES[name](level(weights), depth, torch.zeros(4), OPTIONS)
    (loss + 0.0 * weights.sum()).backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(weights.grad).all()
    if not valid:
        assert float(loss.detach()) == 0.0
        assert (weights.grad == 0).all()


@pytest.mark.parametrize("name", list(losses.DEPTH_LOSSES))
def test_rays_without_depth_do_not_change_the_loss(name: str) -> None:
    lv = random_level()
    keep = DEPTH > 0
    small = Level(lv.s[keep], lv.t[keep], lv.weights[keep])
    loss = losses.DEPTH_LOSSES[name]
    assert float(loss(lv, DEPTH, SIGMA, OPTIONS)) == pytest.approx(
        float(loss(small, DEPTH[keep], SIGMA[keep], OPTIONS))
    )


def test_interlevel_is_zero_when_the_proposal_bounds_and_moves_only_the_proposal() -> None:
    field = random_level()
    assert float(losses.interlevel([field, field])) < 1e-20
    proposal_weights = (0.2 * field.weights).requires_grad_()
    field_weights = field.weights.clone().requires_grad_()
    proposal = Level(field.s, field.t, proposal_weights)
    loss = losses.interlevel([proposal, Level(field.s, field.t, field_weights)])
    loss.backward()
    assert float(loss.detach()) > 0
    assert (proposal_weights.grad <= 0).all()
    assert field_weights.grad is None


def test_slack_loosens_the_bound() -> None:
    lv = random_level()
    tight = losses.cdf_depth(lv, DEPTH, SIGMA, dataclasses.replace(OPTIONS, cdf_slack=0.0, cdf_empty=0.0))
    loose = losses.cdf_depth(lv, DEPTH, SIGMA, dataclasses.replace(OPTIONS, cdf_slack=3.0, cdf_empty=0.0))
    assert float(loose) < float(tight)


def test_grid_decay_is_that_of_the_sum_of_the_levels_mean_squares() -> None:
    torch.manual_seed(0)
    table = torch.randn(3, 8, 2, requires_grad=True)
    (0.3 * sum((level**2).mean() for level in table)).backward()
    torch.testing.assert_close(table.grad, losses.grid_decay_rate(table, 0.3) * table.detach())


def test_unseen_rays_count_for_their_own_loss_only() -> None:
    """Rows behind those of the batch change the unseen loss and nothing else of the field's."""
    torch.manual_seed(0)
    edges = torch.linspace(1.0, 3.0, 6).expand(9, 6)
    weights = torch.rand(9, 5) * 0.2
    field = Level((edges - 1.0) / 2.0, edges, weights)
    output = ModelOutput([field], torch.rand(9, 3), weights.sum(-1), torch.ones(9), torch.ones(9))
    ones = torch.ones(3)
    rays = RayBatch(*[torch.ones(3, 3)] * 3, ones, ones, ones, torch.rand(3, 3), 2 * ones, 0 * ones, ones.long())
    options = LossOptions(unseen=UnseenOptions(distortion=0.5, opacity=0.125, edges=0.25))
    found = total_loss(output, rays, torch.zeros(1, 4), options)
    without = total_loss(output.part(slice(0, 3)), rays, torch.zeros(1, 4), options)
    changes = [
        math.sqrt(sum(float(output.rgb[3 + 2 * k + i, c] - output.rgb[3 + i, c]) ** 2 for k in (1, 2)) + 1e-4)
        for i in range(2)
        for c in range(3)
    ]
    opacity = weights[3:].sum(-1).mean()
    expected = 0.5 * stepfun.distortion(field.s[3:], weights[3:]).mean() + 0.125 * opacity + 0.25 * sum(changes) / 6
    assert float(found.pop("unseen")) == pytest.approx(float(expected), rel=1e-5)
    assert "unseen" not in without
    assert {k: float(v) for k, v in found.items()} == pytest.approx({k: float(v) for k, v in without.items()})


def test_photometric_loss_compares_the_mean_of_a_pixels_rays() -> None:
    torch.manual_seed(0)
    edges, weights = torch.linspace(1.0, 3.0, 6).expand(8, 6), torch.rand(8, 5) * 0.2
    field = Level((edges - 1.0) / 2.0, edges, weights)
    output = ModelOutput([field], torch.rand(8, 3), weights.sum(-1), torch.ones(8), torch.ones(8))
    target, ones = torch.rand(2, 3), torch.ones(8)
    colors = target.repeat_interleave(4, 0)
    rays = RayBatch(*[torch.ones(8, 3)] * 3, ones, ones, ones, colors, 2 * ones, 0 * ones, ones.long())
    found, each = (total_loss(output, rays, torch.zeros(1, 4), LossOptions(), rays_per_pixel=k) for k in (4, 1))
    expected = sum(
        math.hypot(float(output.rgb[4 * i : 4 * i + 4, c].mean() - target[i, c]), 0.001)
        for i in range(2)
        for c in range(3)
    )
    assert float(found.pop("photometric")) == pytest.approx(expected / 6, rel=1e-5)
    assert float(each.pop("photometric")) > expected / 6
    assert {k: float(v) for k, v in found.items()} == {k: float(v) for k, v in each.items()}
