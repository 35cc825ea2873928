"""Which focal length to believe, and whether the photos tell one at all. Runs in the child process."""

from __future__ import annotations

from depthrf.sfm._pycolmap import pycolmap
from depthrf.sfm.mapping import Candidate
from depthrf.sfm.models import focal_of

_ALIKE_CONSISTENCY = 0.01
_ALIKE_ERROR = 1.03
"""A focal length fits "alike" when it loses no more than this (a drifted street scene: 0.002 and 1 %; a wrong focal
length: 0.3 and 40 %)."""

_TRIALS = (1.25, 0.8)
_MAX_OBSERVATIONS = 100_000
"""So many fix the focal length in practice, and trials on more would take tens of seconds."""


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
    """What to tell where a quarter more or a fifth less focal length would fit the photos as well, else None."""
    if model.compute_num_observations() > _MAX_OBSERVATIONS:
        return None
    error = _error_with(model, 1.0)
    alike = [scale for scale in _TRIALS if _error_with(model, scale) <= error * _ALIKE_ERROR]
    if not alike:
        return None
    found = focal_of(model)
    others = " or ".join(f"{found * scale:.0f}" for scale in alike)
    return (
        f"The focal length is uncertain: the photos fit {found:.0f} pixels, but {others} about as well. "
        "If you know it, give --focal-px (or --fov); photos with EXIF data tell it by themselves."
    )


def _error_with(model: pycolmap.Reconstruction, scale: float) -> float:
    """Mean reprojection error, pixels, of the model adjusted to a focal length of ``scale`` times its own."""
    trial = pycolmap.Reconstruction(model)
    for camera in trial.cameras.values():
        for index in camera.focal_length_idxs():
            camera.params[index] *= scale
    options = pycolmap.BundleAdjustmentOptions(refine_focal_length=False, print_summary=False)
    options.ceres.use_gpu = False
    options.ceres.solver_options.num_threads = 1
    options.ceres.solver_options.max_num_iterations = 50
    options.ceres.solver_options.function_tolerance = 1e-6
    pycolmap.bundle_adjustment(trial, options)
    trial.update_point_3d_errors()
    return float(trial.compute_mean_reprojection_error())
