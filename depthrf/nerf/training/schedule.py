"""Schedules: the learning rate, the depth loss's weight, and how many steps fit into a given time."""

from __future__ import annotations

from depthrf.nerf.options import LossOptions, OptimiserOptions


def learning_rate(step: int, total: int, options: OptimiserOptions) -> float:
    """Log-linear from ``rate`` to ``rate_final`` over ``total`` steps, with a linear warm-up from 1 %."""
    progress = min(step / max(total, 1), 1.0)
    warm = min((step + 1) / options.warmup_steps, 1.0) if options.warmup_steps else 1.0
    ramp = 0.01 + 0.99 * warm
    return float(ramp * options.rate ** (1.0 - progress) * options.rate_final**progress)


def depth_factor(step: int, total: int, options: LossOptions) -> float:
    """Factor on the depth loss: log-linear from 1 to ``depth_final`` over ``total`` steps.

    The prior finds the surfaces early. Many photos locate them more precisely, so its weight may fade in the end.
    """
    return float(options.depth_final ** min(step / max(total, 1), 1.0))


def unsplit_steps(total: int, options: OptimiserOptions) -> int:
    """Number of steps, the first ones of ``total``, that train with a single ray per pixel.

    The others have as many rays per pixel as rendering.
    """
    return total - int(options.split_pixels * total)


def step_cost(options: OptimiserOptions, rays_across: int) -> float:
    """Mean cost of a step relative to an early one, which has one ray per pixel."""
    return 1.0 + options.split_pixels * (rays_across**2 - 1)


class StepBudget:
    """Times the first steps to estimate how many fit into ``seconds``, so that schedules end when the time does.

    The first step compiles kernels: it counts towards the elapsed time but not towards the speed. ``cost`` is that of
    :func:`step_cost`.
    """

    OVERHEAD = 0.04  # share of the time reserved for checkpoints and previews
    SHARE = 0.02  # share of the time spent on timing, but at least MIN_SECONDS and MIN_STEPS
    MIN_SECONDS = 2.0
    MIN_STEPS = 5

    def __init__(self, seconds: float, cost: float = 1.0) -> None:
        self.seconds, self.cost = seconds, cost
        self._first: tuple[int, float] | None = None

    def total(self, step: int, elapsed: float) -> int | None:
        """Number of steps of the whole run, or None while steps are still being timed. Call it after every step."""
        if self._first is None:
            self._first = (step, elapsed)
        steps, seconds = step - self._first[0], elapsed - self._first[1]
        out_of_time = elapsed >= self.seconds
        timed = seconds >= max(self.MIN_SECONDS, self.SHARE * self.seconds) and steps >= self.MIN_STEPS
        if not (timed or out_of_time):
            return None
        left = max(self.seconds - elapsed, 0.0) * (1.0 - self.OVERHEAD)
        return max(step, int((step + left * steps / max(seconds, 1e-9)) / self.cost))
