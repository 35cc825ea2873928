"""The part of ingest that cuts 360° panoramas into views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from depthrf.console import note

if TYPE_CHECKING:
    from depthrf.io.photos.folder import UsablePhoto


def cut_panoramas(photos: Sequence[UsablePhoto], images: Path) -> list[UsablePhoto]:
    """Replaces each panorama among copied photos by views around its horizon, whose focal length is known.

    Args:
        photos: The photos; their copies are in ``images``.
        images: The copies; those of panoramas are replaced.
    """
    from depthrf.io.photos.folder import UsablePhoto
    from depthrf.io.photos.images import inspect_photo, read_rgb, write_jpeg
    from depthrf.io.photos.panorama import cut, focal_px

    result: list[UsablePhoto] = []
    for photo in photos:
        if not photo.info.is_panorama:
            result.append(photo)
            continue
        copy = images / photo.name
        for index, view in enumerate(cut(read_rgb(copy))):
            path = images / f"{copy.stem}_view{index}.jpg"
            write_jpeg(path, view)
            info = replace(
                inspect_photo(path),
                as_is=False,
                focal_px=focal_px(view.shape[1]),
                camera_name="panorama",
                remarks=(*photo.info.remarks, "a view cut from a 360° panorama"),
            )
            result.append(UsablePhoto(photo.path, info, path.name))
        copy.unlink()
    num_cut = sum(photo.info.is_panorama for photo in photos)
    if num_cut:
        note(f"  {num_cut} panorama{'s' if num_cut > 1 else ''} cut into {len(result) - len(photos) + num_cut} views")
    return result
