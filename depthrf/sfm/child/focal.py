"""Which focal length to believe, and whether the photos tell one at all. Runs in the child process."""

from __future__ import annotations

import traceback

from depthrf.sfm.child._pycolmap import pycolmap
from depthrf.sfm.child.mapping import Candidate
from depthrf.sfm.child.models import adjust_keeping_focal, focal_of

_ALIKE_CONSISTENCY = 0.01
_ALIKE_ERROR = 1.03
"""Bounds within which two focal lengths fit alike. A street scene whose focal length had drifted lost 0.002 and 1 %; a
wrong focal length lost 0.3 and 40 %."""

_TRIALS = (1.25, 0.8)
_MAX_OBSERVATIONS = 100_000
"""More observations fix the focal length in practice, and trials on them would take tens of seconds."""


def keep_known_focal(free: Candidate, fixed: Candidate | None) -> Candidate:
    """The model with the known focal lengths kept, where it explains the photos as well as the one that refined them.

    Equal fit means that the photos do not determine the focal length; EXIF then knows better.
    """
    alike = (
        fixed is not None
        and fixed.run.num_trusted >= free.run.num_trusted
        and fixed.run.consistency >= free.run.consistency - _ALIKE_CONSISTENCY
        and fixed.run.mean_reprojection_error_px <= free.run.mean_reprojection_error_px * _ALIKE_ERROR
    )
    return fixed if alike and fixed is not None else free


def focal_warning(model: pycolmap.Reconstruction) -> str | None:
    """A warning where focal lengths a quarter longer or a fifth shorter would fit the photos as well, else None."""
    if model.compute_num_observations() > _MAX_OBSERVATIONS:
        return None
    try:
        error = _error_with(model, 1.0)
        alike = [scale for scale in _TRIALS if _error_with(model, scale) <= error * _ALIKE_ERROR]
    except RuntimeError:  # a trial that COLMAP cannot adjust says nothing of the model
        traceback.print_exc()
        return None
    if not alike:
        return None
    found = focal_of(model)
    others = " or ".join(f"{found * scale:.0f}" for scale in alike)
    return (
        f"The focal length is uncertain: {found:.0f} pixels fit the photos, but {others} about as well. "
        "If you know it, give --focal-px or --fov. Photos with EXIF data bring their own."
    )


def _error_with(model: pycolmap.Reconstruction, scale: float) -> float:
    """Mean reprojection error, pixels, of the model adjusted to a focal length of ``scale`` times its own."""
    trial = pycolmap.Reconstruction(model)
    for camera in trial.cameras.values():
        for index in camera.focal_length_idxs():
            camera.params[index] *= scale
    adjust_keeping_focal(trial)
    trial.update_point_3d_errors()
    return float(trial.compute_mean_reprojection_error())
