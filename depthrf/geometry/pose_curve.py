"""A curve of camera poses: its length, poses at given lengths, and smoothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from depthrf.geometry.camera import Array


@dataclass(frozen=True)
class PoseCurve:
    """Points of a curve of poses; a closed one repeats its first pose at the end."""

    positions: Array  # (n, 3)
    rotations: Rotation  # n of them
    closed: bool

    @staticmethod
    def through(positions: Array, rotations: Array, *, closed: bool) -> PoseCurve:
        """The curve through poses (n, 3), (n, 3, 3)."""
        order = np.arange(len(positions))
        if closed:
            order = np.append(order, 0)
        return PoseCurve(positions[order], Rotation.from_matrix(rotations[order]), closed)

    def arc_length(self, unit: float) -> Array:
        """Length from the start to each point, (n,): moving by ``unit`` counts as much as turning by one radian."""
        moves = np.linalg.norm(np.diff(self.positions, axis=0), axis=1) / unit
        turns = (self.rotations[1:] * self.rotations[:-1].inv()).magnitude()
        return np.concatenate([[0.0], np.cumsum(np.hypot(moves, turns))])

    def sampled(self, at: Array, wanted: Array) -> PoseCurve:
        """Poses at lengths ``wanted`` (m,), where the points lie at lengths ``at`` (n,): linear, and slerp.

        The lengths ``at`` ascend and must not all be equal.
        """
        at, distinct = np.unique(at, return_index=True)  # poses that are equal lie at one length
        wanted = np.clip(wanted, at[0], at[-1])
        positions = np.stack([np.interp(wanted, at, column) for column in self.positions[distinct].T], axis=1)
        return PoseCurve(positions, Slerp(at, self.rotations[distinct])(wanted), self.closed)

    def smoothed(self, sigma: float) -> PoseCurve:
        """Gaussian mean along the curve; ``sigma`` in points. Open ends keep their pose.

        Rotations are averaged as unit quaternions, which is accurate as long as neighbours within a few sigma differ
        by less than about a right angle.
        """
        radius = min(int(np.ceil(3.0 * sigma)), len(self.positions) - 2)
        if radius < 1:
            return self
        kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
        kernel /= kernel.sum()
        quaternions = _continuous(self.rotations.as_quat())
        # Both signs stand for one rotation, and all the way round a closed curve the sign may have changed.
        sign = -1.0 if self.closed and quaternions[0] @ quaternions[-1] < 0 else 1.0
        positions = _convolve(self._padded(self.positions, radius, 1.0), kernel)
        means = _convolve(self._padded(quaternions, radius, sign), kernel)
        cancelled = np.linalg.norm(means, axis=1) < 1e-6
        means[cancelled] = quaternions[cancelled]
        return PoseCurve(positions, Rotation.from_quat(means), self.closed)

    def _padded(self, values: Array, radius: int, sign: float) -> Array:
        """The values (n, d) with ``radius`` more at both ends: of a closed curve from its other end, else mirrored."""
        if self.closed:
            before, after = values[-1 - radius : -1], values[1 : radius + 1]
            return np.concatenate([sign * before, values, sign * after])
        return np.pad(values, ((radius, radius), (0, 0)), mode="reflect", reflect_type="odd")


def _continuous(quaternions: Array) -> Array:
    """The quaternions (n, 4) with signs such that neighbours lie on one hemisphere."""
    flips = np.where((quaternions[1:] * quaternions[:-1]).sum(axis=1) < 0, -1.0, 1.0)
    return quaternions * np.cumprod(np.append(1.0, flips))[:, None]


def _convolve(values: Array, kernel: Array) -> Array:
    return np.stack([np.convolve(column, kernel, mode="valid") for column in values.T], axis=1)
