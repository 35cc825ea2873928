"""Unit quaternions (w, x, y, z) and curves of poses. Neighbours on a curve have quaternions of the same sign."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from depthrf.geometry.camera import Array


def quaternions_of(rotations: Array) -> Array:
    """(n, 3, 3) -> (n, 4), as the dominant eigenvectors of Bar-Itzhack's matrix (2000, eq. 2): stable at any angle."""
    r = np.moveaxis(rotations, 0, -1)
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = r
    k = np.array(
        [
            [xx + yy + zz, zy - yz, xz - zx, yx - xy],
            [zy - yz, xx - yy - zz, xy + yx, xz + zx],
            [xz - zx, xy + yx, yy - xx - zz, yz + zy],
            [yx - xy, xz + zx, yz + zy, zz - xx - yy],
        ]
    )
    return np.asarray(np.linalg.eigh(np.moveaxis(k, -1, 0))[1][:, :, -1])


def rotations_of(quaternions: Array) -> Array:
    """(n, 4) unit -> (n, 3, 3)."""
    w, x, y, z = quaternions.T
    matrix = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    return np.moveaxis(matrix, -1, 0)


def _same_sign(quaternions: Array) -> Array:
    """Flips signs so that neighbours are on one hemisphere."""
    signs = np.where((quaternions[1:] * quaternions[:-1]).sum(1) < 0, -1.0, 1.0)
    return quaternions * np.cumprod(np.concatenate([[1.0], signs]))[:, None]


@dataclass(frozen=True)
class PoseCurve:
    """Points of a curve of poses; a closed one repeats its first pose (up to the quaternion's sign) at the end."""

    positions: Array  # (n, 3)
    quaternions: Array  # (n, 4)
    closed: bool

    @staticmethod
    def through(positions: Array, rotations: Array, *, closed: bool) -> PoseCurve:
        """The curve through poses (n, 3), (n, 3, 3)."""
        ends = np.r_[np.arange(len(positions)), 0] if closed else np.arange(len(positions))
        return PoseCurve(positions[ends], _same_sign(quaternions_of(rotations)[ends]), closed)

    def rotations(self) -> Array:
        """(n, 3, 3)."""
        return rotations_of(self.quaternions)

    def arc_length(self, unit: float) -> Array:
        """Length from the start to each point, (n,): moving by ``unit`` counts as much as turning by one radian."""
        moves = np.linalg.norm(np.diff(self.positions, axis=0), axis=1) / unit
        chords = np.linalg.norm(np.diff(self.quaternions, axis=0), axis=1)
        turns = 4.0 * np.arcsin(np.clip(chords / 2.0, 0.0, 1.0))
        return np.concatenate([[0.0], np.cumsum(np.hypot(moves, turns))])

    def sampled(self, at: Array, wanted: Array) -> PoseCurve:
        """Poses at lengths ``wanted`` (m,), where the points lie at lengths ``at`` (n,): linear, and slerp."""
        index = np.clip(np.searchsorted(at, wanted, side="right") - 1, 0, len(at) - 2)
        step = at[index + 1] - at[index]
        t = np.clip((wanted - at[index]) / np.where(step > 0, step, 1.0), 0.0, 1.0)[:, None]
        positions = (1.0 - t) * self.positions[index] + t * self.positions[index + 1]
        a, b = self.quaternions[index], self.quaternions[index + 1]
        angle = 2.0 * np.arcsin(np.clip(np.linalg.norm(a - b, axis=1, keepdims=True) / 2.0, 0.0, 1.0))
        # sinc-like ratios, finite at angle 0.
        scale = np.sinc(angle / np.pi)
        left = (1.0 - t) * np.sinc((1.0 - t) * angle / np.pi) / scale
        right = t * np.sinc(t * angle / np.pi) / scale
        return PoseCurve(positions, _normalised(left * a + right * b, a), self.closed)

    def smoothed(self, sigma: float) -> PoseCurve:
        """Gaussian mean along the curve; ``sigma`` in points. Open ends keep their pose."""
        radius = min(int(np.ceil(3.0 * sigma)), len(self.positions) - 2)
        if radius < 1:
            return self
        kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
        kernel /= kernel.sum()
        sign = -1.0 if self.quaternions[0] @ self.quaternions[-1] < 0 else 1.0
        positions = _convolve(self._padded(self.positions, radius, 1.0), kernel)
        quaternions = _convolve(self._padded(self.quaternions, radius, sign), kernel)
        return PoseCurve(positions, _normalised(quaternions, self.quaternions), self.closed)

    def _padded(self, values: Array, radius: int, sign: float) -> Array:
        if self.closed:
            return np.concatenate([sign * values[-1 - radius : -1], values, sign * values[1 : radius + 1]])
        return np.pad(values, ((radius, radius), (0, 0)), mode="reflect", reflect_type="odd")


def _convolve(values: Array, kernel: Array) -> Array:
    return np.stack([np.convolve(column, kernel, mode="valid") for column in values.T], axis=1)


def _normalised(quaternions: Array, otherwise: Array) -> Array:
    """Unit quaternions; where they cancel, ``otherwise``."""
    norms = np.linalg.norm(quaternions, axis=1, keepdims=True)
    return np.where(norms > 1e-6, quaternions / np.where(norms > 1e-6, norms, 1.0), otherwise)
