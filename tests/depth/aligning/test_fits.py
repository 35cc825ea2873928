from __future__ import annotations

import numpy as np
import pytest

from depthrf.depth.aligning.fits import KINDS, AffineFit, fit_affine, weighted_line


def keypoints(
    kind: str, *, number: int = 200, scale: float = 3.0, shift: float = 0.2, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Network outputs and exact depths that obey the given scale and shift."""
    z = np.random.default_rng(seed).uniform(1.0, 5.0, number)
    y = z if kind == "depth" else 1.0 / z
    return (y - shift) / scale, z


def fit(
    prediction: np.ndarray, depth: np.ndarray, kind: str, sigma: float | np.ndarray = 0.01, seed: int = 0
) -> AffineFit:
    of_depth = np.broadcast_to(sigma * depth, depth.shape)
    return fit_affine(prediction, depth, of_depth, kind=kind, generator=np.random.default_rng(seed))


def test_weighted_line_is_exact_whatever_the_weights() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, 50)
    for _ in range(5):
        scale, shift, _ = weighted_line(x, 2 * x + 1, rng.uniform(1e-3, 1e3, 50))
        assert scale == pytest.approx(2, abs=1e-9)
        assert shift == pytest.approx(1, abs=1e-9)


def test_weighted_line_matches_repeated_points() -> None:
    rng = np.random.default_rng(1)
    x, y, times = rng.normal(size=20), rng.normal(size=20), rng.integers(1, 5, 20)
    slope, intercept = np.polyfit(np.repeat(x, times), np.repeat(y, times), 1)
    scale, shift, _ = weighted_line(x, y, times.astype(float))
    assert scale == pytest.approx(slope)
    assert shift == pytest.approx(intercept)


@pytest.mark.parametrize("kind", KINDS)
def test_exact_data(kind: str) -> None:
    x, z = keypoints(kind)
    found = fit(x, z, kind, sigma=np.random.default_rng(2).uniform(1e-3, 0.1, len(z)))
    assert found.accepted
    assert found.scale == pytest.approx(3.0)
    assert found.shift == pytest.approx(0.2)
    assert found.num_inliers == found.num_used == 200
    np.testing.assert_allclose(found.apply(x), z, rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.3, 0.45])
def test_outliers(kind: str, share: float) -> None:
    rng = np.random.default_rng(3)
    x, z = keypoints(kind)
    z = z * np.exp(rng.normal(0, 0.01, len(z)))
    bad = rng.random(len(z)) < share
    z[bad] = rng.uniform(0.3, 12.0, bad.sum())
    found = fit(x, z, kind)
    assert found.accepted
    assert found.scale == pytest.approx(3.0, rel=0.04)
    assert found.median_rel_residual < 0.03
    plain = np.polyfit(x, z if kind == "depth" else 1 / z, 1)
    assert abs(found.scale - 3.0) < abs(plain[0] - 3.0)


def test_the_generator_decides() -> None:
    x, z = keypoints("depth")
    z = z * np.exp(np.random.default_rng(4).normal(0, 0.1, len(z)))
    a, b = fit(x, z, "depth", seed=5), fit(x, z, "depth", seed=5)
    assert (a.scale, a.shift) == (b.scale, b.shift)


def test_sure_keypoints_count_more() -> None:
    x, z = keypoints("depth", number=100)
    sigma = np.full(100, 0.001)
    doubtful = np.arange(100) < 50
    z[doubtful] *= 1.1
    sigma[doubtful] = 0.5
    found = fit(x, z, "depth", sigma=sigma)
    assert found.scale == pytest.approx(3.0, rel=0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_scale_is_never_negative(kind: str) -> None:
    x, z = keypoints(kind)
    found = fit(-x, z, kind)
    assert not found.accepted
    assert found.reason
    assert found.scale > 0


@pytest.mark.parametrize(
    ("x", "z", "reason"),
    [
        (np.array([]), np.array([]), "only 0"),
        (np.linspace(0, 1, 5), np.linspace(1, 2, 5), "only 5"),
        (np.full(30, 0.5), np.linspace(1, 2, 30), "same value"),
        (np.full(30, np.nan), np.linspace(1, 2, 30), "only 0"),
        (np.random.default_rng(6).random(60), np.random.default_rng(7).uniform(0.2, 9, 60), ""),
    ],
)
def test_refusals(x: np.ndarray, z: np.ndarray, reason: str) -> None:
    found = fit(x, z, "depth")
    assert not found.accepted
    assert reason in found.reason
    assert found.reason


def test_keypoints_at_one_depth_cannot_tell_scale_from_shift() -> None:
    rng = np.random.default_rng(8)
    z = 2.0 * np.exp(rng.normal(0, 0.02, 100))
    x = 0.5 + rng.normal(0, 0.01, 100)
    assert not fit(x, z, "depth").accepted


def test_unknown_kind() -> None:
    with pytest.raises(ValueError, match="disparity"):
        fit(np.zeros(20), np.ones(20), "disparity")


def test_depth_behind_the_camera_is_invalid() -> None:
    x, z = keypoints("depth")
    found = fit(x, z, "depth")
    assert found.apply(np.array([-10.0, np.nan])).tolist() == [0.0, 0.0]
    x, z = keypoints("inverse_depth")
    found = fit(x, z, "inverse_depth")
    assert found.apply(np.array([-10.0, np.inf])).tolist() == [0.0, 0.0]
