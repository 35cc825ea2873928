"""Which photos of an export train and which are only scored: the few-view protocols of the field by two options.

``--holdout`` chooses the test photos; ``--max-photos N`` then takes N of the others at equal steps, the first and last
among them. Photos count in the export's order, which for LLFF, COLMAP and transforms.json is that of their names. So
``--holdout every:8 --max-photos 3`` is the field's split of LLFF at 3 views: tests are photos 0, 8, 16, ..., training
photos ``round(linspace(0, n - 1, 3))`` of the n others, as in RegNeRF (Niemeyer et al. 2022) and who compare with it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from depthrf import console
from depthrf.errors import UsageError
from depthrf.sfm.judging.diagnose import MIN_PHOTOS
from depthrf.stages.ingesting.holdout import chosen_names

if TYPE_CHECKING:
    from depthrf.io.captures.capture import Capture

_MOST_LISTED = 40


def split(capture: Capture, holdout: str | None) -> Capture:
    """The export with the photos that ``holdout`` means as its test photos, whatever it tests on itself.

    Raises:
        UsageError: ``holdout`` names no split of these photos, or leaves too few to reconstruct.
    """
    from depthrf.io.captures.capture import shot_name

    if not holdout:
        return capture
    names = [shot_name(shot, capture.root) for shot in capture.shots]
    test = chosen_names(holdout, names)
    check_enough_left(holdout, len(names) - len(test), len(names))
    shots = [replace(shot, test=name in test) for shot, name in zip(capture.shots, names, strict=True)]
    return replace(capture, shots=shots)


def check_enough_left(holdout: str, num_train: int, num_photos: int) -> None:
    """Raises UsageError where holding out leaves too few photos."""
    if num_train < MIN_PHOTOS:
        raise UsageError(
            f"--holdout {holdout} leaves {num_train} of {num_photos} photos to train on; {MIN_PHOTOS} are needed. "
            "Hold out fewer, or none, and score with: depthrf evaluate --leave-one-out"
        )


def tell_split(whole: Capture, chosen: Capture, holdout: str | None) -> None:
    """Tells which photos train and which are tests, where there are any, with their numbers in the whole export."""
    from depthrf.io.captures.capture import shot_name

    own = sum(shot.test for shot in whole.shots)
    if own and holdout:
        console.warn(
            f"{whole.kind}: --holdout {holdout} is used, not the split that it brings; its own {own} test photos count "
            "like the others. Leave --holdout out to use its own split."
        )
    if not any(shot.test for shot in chosen.shots):
        return
    numbers = {shot_name(shot, whole.root): i for i, shot in enumerate(whole.shots)}
    for what, test in (("training", False), ("test", True)):
        names = [shot_name(shot, chosen.root) for shot in chosen.shots if shot.test == test]
        listed = ", ".join(f"{numbers[name]} {name.rpartition('/')[2]}" for name in names[:_MOST_LISTED])
        more = f", and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
        console.note(f"{len(names)} {what} photos (of 0 to {len(whole.shots) - 1}): {listed}{more}")
