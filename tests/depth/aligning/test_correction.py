from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from depthrf.depth.aligning.correction import FieldFit, Smoothness, best_field, features, fit_field

Array = NDArray[np.float64]

CHOICES = (Smoothness(0.06, 0.5), Smoothness(0.06, 0.25))


def bent(u: Array) -> Array:
    return np.asarray(0.1 * np.sin(3.0 * u[..., 0]) * np.cos(2.5 * u[..., 1]))


def keypoints(
    number: int = 200, *, bend: bool, noise: float = 0.01, wrong: float = 0.0, seed: int = 0
) -> tuple[Array, Array, Array, Array, NDArray[np.bool_]]:
    """Network outputs of y = 3 x + 0.2, bent over the photo; a share of wrong ones."""
    rng = np.random.default_rng(seed)
    u = rng.uniform((0, 0), (1, 0.75), (number, 2))
    fitted = rng.uniform(1.0, 5.0, number)
    y = fitted * np.exp((bent(u) if bend else 0.0) + rng.normal(0, noise, number))
    bad = np.arange(number) < wrong * number
    y[bad] = rng.uniform(0.5, 8.0, bad.sum())
    return (fitted - 0.2) / 3.0, y, u, np.full(number, 0.005), bad


def predicted(fit: FieldFit, x: Array, u: Array) -> Array:
    """log y at single places, from the model's own formula."""
    return np.asarray(np.log(fit.scale * x + fit.shift) + features(u, fit.smoothness) @ fit.coefficients)


def test_prior_of_the_correction_has_the_deviation_and_length_asked_for() -> None:
    u = np.array([[0.1, 0.1], [0.5, 0.4], [0.9, 0.7]])
    phi = features(u, Smoothness(0.06, 0.3))
    deviation = np.sqrt(np.square(phi).sum(axis=-1))
    assert (deviation < 0.075).all()
    assert (deviation > 0.03).all()
    near = features(np.array([[0.5, 0.4], [0.52, 0.4], [0.95, 0.4]]), Smoothness(0.06, 0.3))
    assert near[0] @ near[1] > 0.9 * near[0] @ near[0]
    assert abs(near[0] @ near[2]) < 0.5 * near[0] @ near[0]
    assert features(u, None).shape == (3, 0)


def test_scale_and_shift_in_spite_of_wrong_keypoints_and_overconfident_ones() -> None:
    x, y, u, sigma, bad = keypoints(bend=False, wrong=0.3, noise=0.03)
    found = fit_field(x, y, u, sigma, start=(2.5, 0.5), smoothness=None)
    assert found.scale == pytest.approx(3.0, rel=0.02)
    assert found.inlier[bad].mean() < 0.25 < 0.9 < found.inlier[~bad].mean()
    spread = np.hypot(found.noise.network, found.noise.factor * 0.005)
    assert spread == pytest.approx(0.03, rel=0.4)


def test_correction_follows_a_bend_and_is_left_out_where_there_is_none() -> None:
    places = np.random.default_rng(3).uniform((0, 0), (1, 0.75), (500, 2))
    x, y, u, sigma, _ = keypoints(bend=True, wrong=0.2)
    found = best_field(x, y, u, sigma, starts=[(3.0, 0.2)], choices=CHOICES)
    plain = best_field(x, y, u, sigma, starts=[(3.0, 0.2)], choices=())
    prediction = np.linspace(0.3, 1.6, 500)
    truth = np.log(3.0 * prediction + 0.2) + bent(places)
    errors = [np.sqrt(np.mean(np.square(predicted(f, prediction, places) - truth))) for f in (found, plain)]
    assert errors[0] < 0.3 * errors[1]
    x, y, u, sigma, _ = keypoints(bend=False, wrong=0.2)
    straight = best_field(x, y, u, sigma, starts=[(3.0, 0.2)], choices=CHOICES)
    h = features(places, straight.smoothness) @ straight.coefficients
    assert np.abs(h).max() < 0.01


def test_map_agrees_with_points_and_its_variance_with_samples() -> None:
    x, y, u, sigma, _ = keypoints(bend=True, number=60)
    found = fit_field(x, y, u, sigma, start=(3.0, 0.2), smoothness=CHOICES[0])
    prediction = np.random.default_rng(4).uniform(0.3, 1.6, (90, 120))
    row, column = np.array([10, 45, 80]), np.array([15, 60, 100])
    places = np.stack([column + 0.5, row + 0.5], axis=-1) / 120
    log_y, var = (m[row, column] for m in found.over(prediction))
    np.testing.assert_allclose(log_y, predicted(found, prediction[row, column], places), atol=2e-3)
    draws = np.random.default_rng(5).multivariate_normal(np.zeros(len(found.covariance)), found.covariance, 4000)
    fitted = found.scale * prediction[row, column] + found.shift
    change = np.concatenate(
        [(prediction[row, column] / fitted)[:, None], 1 / fitted[:, None], features(places, CHOICES[0])], axis=1
    )
    np.testing.assert_allclose(var, np.var(draws @ change.T, axis=0), rtol=0.15)


def test_leaving_a_keypoint_out_changes_it_as_foretold() -> None:
    x, y, u, sigma, _ = keypoints(bend=True, number=40, noise=0.03)
    found = fit_field(x, y, u, sigma, start=(3.0, 0.2), smoothness=CHOICES[0])
    for i in (0, 11, 23):
        rest = np.arange(40) != i
        without = fit_field(x[rest], y[rest], u[rest], sigma[rest], start=(3.0, 0.2), smoothness=CHOICES[0])
        held_out = np.log(y[i]) - predicted(without, x[i : i + 1], u[i : i + 1])[0]
        assert held_out == pytest.approx(found.residual[i], abs=0.012)


def test_outputs_that_the_fit_puts_behind_the_camera_are_unknown() -> None:
    x, y, u, sigma, _ = keypoints(bend=False)
    found = fit_field(x, y, u, sigma, start=(3.0, 0.2), smoothness=None)
    log_y, var = found.over(np.array([[-10.0, np.nan, 1.0]]))
    assert np.isnan(log_y).tolist() == np.isnan(var).tolist() == [[True, True, False]]
