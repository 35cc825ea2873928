"""Curves of poses against closed forms: a steady turn, a straight line, a closed round."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from depthrf.geometry.pose_curve import PoseCurve
from depthrf.geometry.transforms import rotation_angle_deg

Array = NDArray[np.float64]


def about_z(degrees: Array) -> Array:
    return np.asarray(Rotation.from_euler("z", degrees[:, None], degrees=True).as_matrix())


def steady(count: int, step_deg: float) -> PoseCurve:
    """One unit along x and ``step_deg`` about z from point to point."""
    steps = np.arange(count, dtype=np.float64)
    positions = np.stack([steps, np.zeros(count), np.zeros(count)], axis=1)
    return PoseCurve.through(positions, about_z(step_deg * steps), closed=False)


def test_length_counts_moves_and_turns() -> None:
    at = steady(5, 60.0).arc_length(unit=2.0)
    np.testing.assert_allclose(at, np.arange(5) * np.hypot(0.5, np.pi / 3))


def test_samples_of_a_steady_curve_are_steady_however_far_it_turns() -> None:
    """The turn of 480 degrees in all passes the angle where a quaternion changes its sign."""
    curve = steady(5, 120.0)
    at = curve.arc_length(1.0)
    share = np.linspace(0.0, 4.0, 33)
    sampled = curve.sampled(at, share * at[1])
    np.testing.assert_allclose(sampled.positions[:, 0], share, atol=1e-9)
    assert rotation_angle_deg(sampled.rotations.as_matrix(), about_z(120.0 * share)).max() < 1e-6


def test_samples_beyond_the_ends_are_the_ends_and_equal_poses_do_no_harm() -> None:
    curve = PoseCurve.through(np.array([[0.0, 0, 0], [1, 0, 0], [1, 0, 0]]), about_z(np.zeros(3)), closed=False)
    sampled = curve.sampled(curve.arc_length(1.0), np.array([-1.0, 0.5, 9.0]))
    np.testing.assert_allclose(sampled.positions[:, 0], [0.0, 0.5, 1.0])


def test_smoothing_leaves_a_steady_curve_alone() -> None:
    curve = steady(40, 10.0)
    smooth = curve.smoothed(3.0)
    np.testing.assert_allclose(smooth.positions, curve.positions, atol=1e-9)
    inside = slice(10, 30)  # the padding mirrors quaternions, which is exact only where the curve does not turn
    turned = rotation_angle_deg(smooth.rotations.as_matrix(), curve.rotations.as_matrix())
    assert turned[inside].max() < 1e-6
    assert turned[[0, -1]].max() < 1e-6


@pytest.mark.parametrize("rounds", [1, 2])
def test_smoothing_of_a_closed_round_has_no_seam(rounds: int) -> None:
    """After one round the quaternion has the other sign, after two the same."""
    angles = np.arange(0.0, 360.0 * rounds, 10.0)
    circle = np.stack([np.cos(np.deg2rad(angles)), np.sin(np.deg2rad(angles)), np.zeros(len(angles))], axis=1)
    curve = PoseCurve.through(circle, about_z(angles), closed=True)
    smooth = curve.smoothed(2.0)
    radius = np.linalg.norm(smooth.positions, axis=1)
    np.testing.assert_allclose(radius, radius[0], rtol=1e-9)
    assert 0.9 < radius[0] < 1.0
    assert rotation_angle_deg(smooth.rotations.as_matrix(), curve.rotations.as_matrix()).max() < 1e-6
