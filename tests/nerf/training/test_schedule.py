from __future__ import annotations

import pytest

from depthrf.nerf.options import LossOptions, OptimiserOptions
from depthrf.nerf.training.schedule import StepBudget, depth_factor, learning_rate, step_cost, unsplit_steps
from tests.scenes.wall import SMALL, trainer, wall_store


def test_learning_rate_is_log_linear_after_warm_up() -> None:
    options = OptimiserOptions(steps=100, rate=1e-2, rate_final=1e-4, warmup_steps=10)
    assert learning_rate(50, 100, options) == pytest.approx(1e-3)
    assert learning_rate(100, 100, options) == pytest.approx(1e-4)
    assert learning_rate(0, 100, options) == pytest.approx(1e-2 * (0.01 + 0.99 / 10))


def test_depth_prior_fades_log_linearly() -> None:
    options = LossOptions(depth_final=0.01)
    assert [depth_factor(s, 100, options) for s in (0, 50, 100)] == pytest.approx([1.0, 0.1, 0.01])
    faded, kept = (trainer(SMALL, 20, LossOptions(depth_final=final)) for final in (1e-6, 1.0))
    for _ in range(20):
        last = [t.advance(wall_store()).losses["depth"] for t in (faded, kept)]
    assert float(last[0]) < 1e-4 * float(last[1])


@pytest.mark.parametrize(("seconds_per_step", "across"), [(0.01, 1), (0.3, 1), (5.0, 1), (0.3, 2)])
def test_number_of_steps_fits_the_budget(seconds_per_step: float, across: int) -> None:
    """The first step takes 7 s more (compilation); the run ends within the budget and uses most of it."""
    optimiser = OptimiserOptions(split_pixels=0.25)
    budget, elapsed, total = StepBudget(100.0, step_cost(optimiser, across)), 7.0, None
    for step in range(1, 10_000):
        elapsed += seconds_per_step
        total = budget.total(step, elapsed)
        if total is not None:
            break
    assert total - unsplit_steps(total, optimiser) == total // 4
    end = 7.0 + (total + (across**2 - 1) * (total // 4)) * seconds_per_step
    assert end <= 100.0
    assert end > 90.0 - 2 * across**2 * seconds_per_step


def test_budget_spent_while_timing_ends_training() -> None:
    budget = StepBudget(10.0)
    assert budget.total(1, 6.0) is None
    assert budget.total(2, 12.0) == 2
