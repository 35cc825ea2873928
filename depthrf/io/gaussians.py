"""Gaussian splats as files that splat viewers open: the PLY of 3D Gaussian Splatting (Kerbl et al. 2023), and SPZ."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depthrf.storage import atomic_open, atomic_path

_SH_DC = 0.28209479177387814  # the constant spherical harmonic, 1 / (2 sqrt(pi))
_SPZ_BITS = 22  # of a coordinate, without its sign and one to spare

_FIELDS = (
    *("x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", "opacity"),
    *("scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"),
)


@dataclass(frozen=True)
class Gaussians:
    """N Gaussians.

    Attributes:
        centres: (N, 3).
        normals: (N, 3) unit; the axis of the third scale.
        scales: (N, 3) standard deviations along their own axes, in the unit of the centres.
        quaternions: (N, 4), scalar first, from their own axes to the scene's.
        colors: (N, 3) in [0, 1].
        opacities: (N,) in (0, 1).
    """

    centres: NDArray[np.float64]
    normals: NDArray[np.float64]
    scales: NDArray[np.float64]
    quaternions: NDArray[np.float64]
    colors: NDArray[np.float64]
    opacities: NDArray[np.float64]


def write_gaussians(path: Path, gaussians: Gaussians) -> None:
    """Writes a binary PLY: colours as spherical harmonics of degree 0, scales as logarithms, opacities as logits."""
    logit = np.log(gaussians.opacities / (1.0 - gaussians.opacities))
    columns = np.column_stack(
        [
            gaussians.centres,
            gaussians.normals,
            (gaussians.colors - 0.5) / _SH_DC,
            logit,
            np.log(gaussians.scales),
            gaussians.quaternions,
        ]
    ).astype("<f4")
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(columns)}"]
    header += [*(f"property float {name}" for name in _FIELDS), "end_header", ""]
    with atomic_open(path, "wb") as handle:
        handle.write("\n".join(header).encode("ascii"))
        handle.write(np.ascontiguousarray(columns).tobytes())


def write_spz(path: Path, gaussians: Gaussians) -> None:
    """Writes Niantic's SPZ, about a tenth as large: positions of 24 bits, all else of 8 or 10.

    SPZ files have y up and z towards the viewer, PLY files y down and z away: half a turn about x.

    Raises:
        ImportError: There is no gsply.
    """
    import torch
    from gsply import GSData
    from gsply import write_spz as write

    w, x, y, z = gaussians.quaternions.T
    centres = gaussians.centres * (1.0, -1.0, -1.0)
    columns = (  # as a PLY file has them
        centres,
        np.log(gaussians.scales),
        np.column_stack([-x, w, -z, y]),
        np.log(gaussians.opacities / (1.0 - gaussians.opacities)),
        (gaussians.colors - 0.5) / _SH_DC,
    )
    largest = max(1e-6, float(np.abs(centres).max()))
    bits = int(np.clip(_SPZ_BITS - np.ceil(np.log2(largest)), 0, _SPZ_BITS))
    data = GSData(*(np.ascontiguousarray(column, dtype=np.float32) for column in columns), shN=None)
    threads = torch.get_num_threads()  # which numba's threads would change for torch as well
    try:
        with atomic_path(path) as temporary:
            write(temporary, data, fractional_bits=bits)
    finally:
        torch.set_num_threads(threads)
