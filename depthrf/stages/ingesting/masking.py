"""The part of ingest that finds and writes masks, and tells of those that are not used."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from depthrf.console import warn
from depthrf.errors import UsageError
from depthrf.storage import remove

if TYPE_CHECKING:
    from depthrf.io.companions import FoundFiles
    from depthrf.io.photos.folder import UsablePhoto

_MASKED_TO_WARN, _MASKED_TO_REFUSE = 0.7, 0.98


def ingest_masks(
    source: Path,
    photos: Sequence[UsablePhoto],
    given: Path | None,
    folder: Path,
    others: Mapping[Path, Path] | None = None,
    spare: Collection[Path] = (),
) -> tuple[int, float]:
    """Writes the photos' masks to ``folder``, which is there only when there are any.

    Args:
        source: The photo folder, or a video.
        photos: The photos.
        given: A folder of masks that the user names.
        folder: Where to write.
        others: Masks that the data set names or that lie among the photos, by photo.
        spare: Photos that are not used, whose masks are none to wonder about.

    Returns:
        How many photos have masks, and the share of their pixels that is left out.

    Raises:
        UsageError: No folder of masks, or masks that leave next to nothing.
        DepthrfError: A mask cannot be read or does not fit its photo.
    """
    from depthrf.io.companions import find_masks
    from depthrf.io.masks import write_masks

    remove(folder)
    paths = [photo.path for photo in photos]
    found = find_masks(source, [*paths, *spare], given, others)
    found = replace(found, by_photo={path: mask for path, mask in found.by_photo.items() if path not in spare})
    _tell_unused(found, paths)
    masked = write_masks(photos, found.by_photo, folder) if found.by_photo else 0.0
    of_all = masked * len(found.by_photo) / max(len(photos), 1)
    if of_all > _MASKED_TO_WARN:
        what = f"The masks leave out {of_all:.0%} of the photos: what is black is ignored, what is white is used"
        if of_all > _MASKED_TO_REFUSE:
            raise UsageError(f"{what}. Swap black and white, or take the masks away.")
        warn(f"{what}. If it should be the other way round, swap them.")
    return len(found.by_photo), masked


def _tell_unused(found: FoundFiles, photos: Sequence[Path]) -> None:
    from depthrf.io.companions import expected
    from depthrf.io.naming import counted, some_of

    if not photos:
        return
    if found.spare:
        names = some_of([path.name for path in found.spare])
        whose = "a photo" if found.by_photo else "any photo, so no mask is used"
        files = counted(len(found.spare), "file")
        warn(f"{files} in {found.folder} not named like {whose}: {names}; {expected(photos)}")
    missing = [path.name for path in photos if path not in found.by_photo]
    if found.by_photo and missing:
        warn(f"{counted(len(missing), 'photo')} of {len(photos)} without a mask, used as a whole: {some_of(missing)}")
