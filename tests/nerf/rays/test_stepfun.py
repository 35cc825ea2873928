from __future__ import annotations

import numpy as np
import pytest
import torch

from depthrf.nerf.rays import stepfun


def random_histogram(rays: int, bins: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    t = torch.rand(rays, bins + 1, generator=generator, dtype=torch.float64).sort(-1).values
    w = torch.rand(rays, bins, generator=generator, dtype=torch.float64) ** 4
    return t, w / (w.sum(-1, keepdim=True) * 1.25)


def test_distortion_equals_the_double_sum() -> None:
    t, w = random_histogram(5, 9)
    mid, width = 0.5 * (t[:, 1:] + t[:, :-1]), t[:, 1:] - t[:, :-1]
    pairs = (w[:, :, None] * w[:, None, :] * (mid[:, :, None] - mid[:, None, :]).abs()).sum((1, 2))
    expected = pairs + (w**2 * width).sum(-1) / 3
    torch.testing.assert_close(stepfun.distortion(t, w), expected)


def test_distortion_estimates_the_mean_distance_of_two_samples() -> None:
    """For weights that sum to 1 it is E|x - y| of two points drawn from the histogram."""
    t, w = random_histogram(1, 6)
    w = w / w.sum()
    rng = np.random.default_rng(0)
    bins = rng.choice(6, size=(2, 400_000), p=w[0].numpy())
    low, high = t[0, :-1].numpy()[bins], t[0, 1:].numpy()[bins]
    x, y = low + rng.random(bins.shape) * (high - low)
    assert float(stepfun.distortion(t, w)) == pytest.approx(np.abs(x - y).mean(), rel=0.01)


def test_outer_measure_equals_brute_force_and_bounds_the_inner_one() -> None:
    t, _ = random_histogram(4, 7, seed=1)
    t_env, w_env = random_histogram(4, 11, seed=2)
    bound = stepfun.outer_measure(t, t_env, w_env)
    for ray in range(4):
        for i in range(7):
            overlap = (t_env[ray, 1:] > t[ray, i]) & (t_env[ray, :-1] < t[ray, i + 1])
            assert float(bound[ray, i]) == pytest.approx(float(w_env[ray][overlap].sum()))


def test_outer_measure_of_itself_is_the_weight() -> None:
    t, w = random_histogram(3, 8)
    torch.testing.assert_close(stepfun.outer_measure(t, t, w), w)


def test_resample_keeps_range_and_order_and_follows_the_weights() -> None:
    t, w = random_histogram(6, 10)
    new = stepfun.resample(t, w, 64, 0.0, torch.rand(len(t), generator=torch.Generator().manual_seed(0)).to(t) - 0.5)
    assert (new[:, 1:] >= new[:, :-1]).all()
    torch.testing.assert_close(new[:, [0, -1]], t[:, [0, -1]])
    # Each new interval holds 1/64 of the weight, so a bin of weight p holds about 64 p of them.
    mid = 0.5 * (new[:, 1:] + new[:, :-1])
    for ray in range(6):
        counts = np.histogram(mid[ray].numpy(), bins=t[ray].numpy())[0]
        assert np.abs(counts / 64 - (w[ray] / w[ray].sum()).numpy()).max() < 2.5 / 64


def test_resample_without_generator_is_deterministic_and_unbiased() -> None:
    t = torch.tensor([[0.0, 1.0]])
    new = stepfun.resample(t, torch.ones(1, 1), 4, 0.0, None)
    torch.testing.assert_close(new, torch.tensor([[0.0, 0.25, 0.5, 0.75, 1.0]]))


def test_resample_of_zero_weights_is_finite() -> None:
    t = torch.linspace(0, 1, 9).expand(2, -1)
    new = stepfun.resample(t, torch.zeros(2, 8), 5, 0.01, None)
    assert torch.isfinite(new).all()


def test_quantile_closed_form() -> None:
    t = torch.tensor([[0.0, 1.0, 3.0], [0.0, 1.0, 3.0]])
    w = torch.tensor([[0.25, 0.75], [0.0, 0.0]])
    torch.testing.assert_close(stepfun.quantile(t, w, 0.5), torch.tensor([1.0 + 2.0 / 3.0, 3.0]))
