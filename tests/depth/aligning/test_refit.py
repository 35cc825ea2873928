"""Monocular depth fitted to sensor depth: what is under a hole of the sensor, and how sure it is said to be."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from depthrf.depth.aligning.refit import refit_to_sensor
from depthrf.geometry.camera import DepthPrior

HEIGHT, WIDTH = 120, 160
FOCAL = 150.0


def room(rng: np.random.Generator) -> np.ndarray:
    """A slanted surface from 1 to 4, with a nearer block."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] / WIDTH
    depth = 1.2 + 2.0 * x + 0.8 * y
    top, left = rng.integers(10, 60, 2)
    depth[top : top + 40, left : left + 40] *= 0.7
    return np.asarray(depth, dtype=np.float32)


def seen(true: np.ndarray, kind: str, rng: np.random.Generator, distortion: float) -> np.ndarray:
    field = cv2.resize(rng.normal(size=(3, 4)), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    bent = true * np.exp(distortion * field / np.abs(field).max())
    y = bent if kind == "depth" else 1.0 / bent
    return np.asarray((y - 0.3) / 2.5, dtype=np.float32)


def sensor_outside(hole: np.ndarray, true: np.ndarray, rng: np.random.Generator) -> DepthPrior:
    noisy = true * np.exp(rng.normal(0, 0.005, true.shape)).astype(np.float32)
    depth = np.where(hole, np.float32(0.0), noisy)
    return DepthPrior(depth, np.float32(0.005) * depth)


def refit(prediction: np.ndarray, sensor: DepthPrior, kind: str) -> DepthPrior:
    found = refit_to_sensor(prediction, sensor, kind=kind, focal_px=FOCAL, generator=np.random.default_rng(0))
    assert found is not None
    return found


def refused(prediction: np.ndarray, sensor: DepthPrior) -> bool:
    generator = np.random.default_rng(0)
    return refit_to_sensor(prediction, sensor, kind="depth", focal_px=FOCAL, generator=generator) is None


@pytest.mark.parametrize("kind", ["depth", "inverse_depth"])
def test_a_prediction_that_is_exact_but_for_scale_and_shift(kind: str) -> None:
    rng = np.random.default_rng(1)
    true = room(rng)
    hole = np.zeros(true.shape, bool)
    hole[:, :80] = True
    refitted = refit(seen(true, kind, rng, 0.0), sensor_outside(hole, true, rng), kind)
    np.testing.assert_allclose(refitted.depth[hole], true[hole], rtol=0.02)
    assert (refitted.sigma > 0).all()


@pytest.mark.parametrize("kind", ["depth", "inverse_depth"])
def test_a_bent_prediction_is_straightened_in_holes_and_says_how_well(kind: str) -> None:
    rng = np.random.default_rng(2)
    errors, plain, surprise = [], [], []
    for _ in range(6):
        true = room(rng)
        hole = np.zeros(true.shape, bool)
        for _ in range(4):
            top, left = rng.integers(0, 90), rng.integers(0, 120)
            hole[top : top + 40, left : left + 50] = True
        prediction, sensor = seen(true, kind, rng, 0.15), sensor_outside(hole, true, rng)
        refitted = refit(prediction, sensor, kind)
        y = true if kind == "depth" else 1 / true
        line = np.polyval(np.polyfit(prediction[~hole], y[~hole], 1), prediction[hole])
        plain.append(np.abs((line if kind == "depth" else 1 / line) - true[hole]) / true[hole])
        errors.append(np.abs(refitted.depth - true)[hole] / true[hole])
        surprise.append((np.abs(refitted.depth - true) / refitted.sigma)[hole])
    assert np.median(np.concatenate(errors)) < 0.35 * np.median(np.concatenate(plain))
    in_sigmas = np.concatenate(surprise)
    assert 0.5 < (in_sigmas < 1).mean() < 0.99
    assert (in_sigmas < 3).mean() > 0.9


def test_no_step_where_a_hole_begins() -> None:
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:HEIGHT, :WIDTH] / WIDTH
    true = (1.5 + x + y).astype(np.float32)
    hole = np.zeros(true.shape, bool)
    hole[40:80, 50:110] = True
    sensor = sensor_outside(hole, true, rng)
    refitted = refit(seen(true, "depth", rng, 0.15), sensor, "depth")
    border = cv2.dilate(hole.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool) ^ hole
    step = (refitted.depth / true)[border] - 1
    assert np.abs(step).mean() < 0.006


def test_it_grows_less_sure_away_from_the_sensor() -> None:
    rng = np.random.default_rng(4)
    y, x = np.mgrid[:HEIGHT, :WIDTH] / WIDTH
    true = (1.5 + x + y).astype(np.float32)
    hole = np.zeros(true.shape, bool)
    hole[:, 60:] = True
    refitted = refit(seen(true, "depth", rng, 0.15), sensor_outside(hole, true, rng), "depth")
    relative = refitted.sigma / refitted.depth
    assert relative[:, 150].mean() > 2 * relative[:, 30].mean()


def test_unknown_pixels_stay_unknown_and_outliers_do_not_spread() -> None:
    rng = np.random.default_rng(5)
    true = room(rng)
    prediction = seen(true, "depth", rng, 0.1)
    sensor = sensor_outside(np.zeros(true.shape, bool), true, rng)
    prediction[:10] = np.nan
    sensor.depth[60:70, 60:70] *= 1.3
    refitted = refit(prediction, sensor, "depth")
    assert (refitted.depth[:10] == 0).all()
    assert (refitted.sigma[:10] == 0).all()
    around = np.abs(refitted.depth - true)[50:80, 20:50] / true[50:80, 20:50]
    assert np.median(around) < 0.02


def test_too_little_overlap_and_contradiction_are_refused() -> None:
    rng = np.random.default_rng(6)
    true = room(rng)
    prediction = seen(true, "depth", rng, 0.0)
    hole = np.ones(true.shape, bool)
    assert refused(prediction, sensor_outside(hole, true, rng))
    hole[:, :40] = False
    assert refused(-prediction, sensor_outside(hole, true, rng))
    assert refused(np.full_like(prediction, 0.5), sensor_outside(hole, true, rng))


def test_an_unknown_kind_is_found() -> None:
    rng = np.random.default_rng(7)
    true = room(rng)
    hole = np.zeros(true.shape, bool)
    hole[:, :80] = True
    for kind in ("depth", "inverse_depth"):
        refitted = refit(seen(true, kind, rng, 0.0), sensor_outside(hole, true, rng), "unknown")
        np.testing.assert_allclose(refitted.depth[hole], true[hole], rtol=0.02)
