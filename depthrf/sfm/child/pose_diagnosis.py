"""Why given poses and photos do not agree, found by trying what is usually wrong. Runs in the child process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from depthrf.geometry.lens import Lens
from depthrf.sfm.child._pycolmap import pycolmap
from depthrf.sfm.child.mapping import Matches
from depthrf.sfm.child.models import camera_of, lens_of, placed_images, placed_photos, ray_pairs
from depthrf.sfm.judging.diagnose import Dropped
from depthrf.sfm.judging.pose_readings import likely_reading, strongest
from depthrf.sfm.judging.selfcheck import contradicted, overall_agreement
from depthrf.sfm.recipes import Trust

CHECK_POSES = (
    "Check that they belong to these photos, that their axes are right (a transforms.json has OpenGL's: x right, y up, "
    "z backward), and the intrinsics. Or leave them out (--poses, or an export's with --no-export-poses): then depthrf "
    "finds poses itself."
)

_NEARLY_ALL = 0.8
"""Share of the matches that has to agree with other intrinsics; right ones reach 0.87 to 1.00."""

_GROSS = 0.03
"""Of the longer side: matches farther from their lines tell of a wrong pose, nearer ones perhaps of one that is off."""

_BY_CHANCE = 0.2
"""Share of a photo's matches that may agree with a wrong pose."""

_OTHER_SIZE = 1.05
"""A principal point this many times farther from the corner than the photo's middle is of another picture size."""

_EQUAL = 0.02
_FOCAL_FACTORS = np.geomspace(0.4, 2.5, 25)


@dataclass(frozen=True)
class Mistake:
    """What is probably wrong with poses or intrinsics.

    cause: A clause. mend: A sentence on what to do. share: Of the matches, that would agree without the mistake.
    """

    cause: str
    mend: str
    share: float


def agreeing_share(model: pycolmap.Reconstruction, matches: Matches) -> float:
    """Share of all verified matches that agree with the model's poses and intrinsics."""
    pairs = ray_pairs(model, matches.pairs, matches.keypoints)
    return overall_agreement(placed_photos(model), pairs, Trust()).consistency


def wrong_poses(model: pycolmap.Reconstruction, matches: Matches) -> dict[str, Dropped]:
    """By name, photos whose own poses are wrong, as most of the others' matches agree without them.

    One far away would shrink all that the others see to a dot in the field.

    Args:
        model: All photos with the given poses and intrinsics.
        matches: Its verified matches.
    """
    photos = placed_photos(model)
    pairs = ray_pairs(model, matches.pairs, matches.keypoints)
    longer = max(max(photo.lens.width, photo.lens.height) for photo in photos.values())
    gross = replace(Trust(), max_error_px=max(Trust().max_error_px, _GROSS * longer))
    found = contradicted(photos, pairs, gross, most=_BY_CHANCE, others=_NEARLY_ALL)
    return {
        name: Dropped(name, f"only {share:.0%} of its matches agree with its given pose, those of the others do")
        for name, share in found.items()
    }


def find_mistake(model: pycolmap.Reconstruction, matches: Matches) -> Mistake | None:
    """The mistake without which nearly all matches would agree; None where none of those known here is it.

    Args:
        model: All photos with the given poses and intrinsics.
        matches: Its verified matches.
    """
    pairs = ray_pairs(model, matches.pairs, matches.keypoints)
    found = likely_reading(placed_photos(model), pairs, Trust())
    if found is not None:
        reading, share = found
        return Mistake(reading.cause, reading.mend, share)
    return _other_size(model, matches) or _other_focal(model, matches)


def _other_size(model: pycolmap.Reconstruction, matches: Matches) -> Mistake | None:
    """Intrinsics in pixels of photos of another size, told by the principal point, which lies near the middle."""
    lens = lens_of(placed_images(model)[0].camera)
    factor = 0.5 * (2.0 * lens.cx / lens.width + 2.0 * lens.cy / lens.height)
    if max(factor, 1.0 / factor) < _OTHER_SIZE:
        return None
    share = _share_with(model, matches, partial(_scaled, factor=1.0 / factor))
    if share < _NEARLY_ALL:
        return None
    meant = f"{round(lens.width * factor)}x{round(lens.height * factor)}"
    return Mistake(
        f"the intrinsics are of photos of about {meant} pixels, and the photos have {lens.width}x{lens.height}",
        f"Give the size that they belong to (w and h in a transforms.json, WIDTH and HEIGHT in cameras.txt, {meant} or "
        "near); they are then scaled to the photos.",
        share,
    )


def _scaled(lens: Lens, factor: float) -> Lens:
    """Focal lengths and principal point times a factor, for the same picture size."""
    in_pixels = [number * factor for number in lens.params[: lens.num_focals + 2]]
    return Lens(lens.model, lens.width, lens.height, (*in_pixels, *lens.distortion))


def _other_focal(model: pycolmap.Reconstruction, matches: Matches) -> Mistake | None:
    """Focal lengths that are wrong by a common factor."""
    shares = [_share_with(model, matches, partial(_with_focal_times, factor=factor)) for factor in _FOCAL_FACTORS]
    best = max(shares)
    if best < _NEARLY_ALL:
        return None
    alike = np.asarray(shares) >= best - _EQUAL
    factor = float(np.exp(np.log(_FOCAL_FACTORS[alike]).mean()))  # the middle of those that fit equally well
    given = lens_of(placed_images(model)[0].camera).focal
    return Mistake(
        f"the focal length is about {given * factor:.0f} pixels, not {given:.0f}",
        "Let it be adjusted with --refine-intrinsics, or give --focal-px.",
        best,
    )


def _with_focal_times(lens: Lens, factor: float) -> Lens:
    return lens.with_focal(lens.focal * factor)


def _share_with(model: pycolmap.Reconstruction, matches: Matches, change: Callable[[Lens], Lens]) -> float:
    """Share of the matches of the strongest pairs that would agree if all lenses were changed."""
    changed = pycolmap.Reconstruction(model)
    for camera in changed.cameras.values():
        camera.params = camera_of(change(lens_of(camera))).params
    pairs = strongest(ray_pairs(changed, matches.pairs, matches.keypoints))
    return overall_agreement(placed_photos(changed), pairs, Trust()).consistency
