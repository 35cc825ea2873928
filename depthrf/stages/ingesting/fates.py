"""The fate of every file, for ``photos.json`` and for the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from depthrf.console import note
from depthrf.io.naming import counted, shown
from depthrf.io.photos.table import PhotoEntry

if TYPE_CHECKING:
    from depthrf.io.photos.folder import Rejected, UsablePhoto


def entries_of(
    photos: Sequence[UsablePhoto], rejected: Sequence[Rejected], held_out: Collection[str], in_images: Collection[str]
) -> list[PhotoEntry]:
    """The rows of photos.json.

    Args:
        photos: The usable photos.
        rejected: The files that are not used.
        held_out: Names of the copies that do not train.
        in_images: Names of the copies that are in images/.
    """
    rows = [PhotoEntry(file.name, None, "rejected", file.reason) for file in rejected]
    for photo in photos:
        info, source = photo.info, shown(photo.path.name)
        if photo.name not in in_images:
            rows.append(PhotoEntry(source, None, "held_out", None, info.width, info.height))
            continue
        focal = "" if info.focal_px is None else f" {info.focal_px:.1f}px"
        rows.append(
            PhotoEntry(
                source=source,
                name=photo.name,
                status="held_out" if photo.name in held_out else "used" if info.as_is else "converted",
                reason="; ".join(_changes(photo)) or None,
                width=info.width,
                height=info.height,
                focal_px=info.focal_px,
                camera_key=f"{info.width}x{info.height} {info.camera_name}{focal}".strip(),
                orientation=info.orientation,
            )
        )
    return rows


def _changes(photo: UsablePhoto) -> list[str]:
    """What was done to a photo, in words."""
    info = photo.info
    turned = ["turned upright"] if info.orientation != 1 else []
    saved_as = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}.get(Path(photo.name).suffix.lower(), "")
    other = saved_as and Path(photo.name).suffix.lower() != photo.path.suffix.lower()
    saved = [f"saved as {saved_as}"] if other and not info.as_is else []
    changes = [*turned, *info.remarks, *saved]
    return changes if changes or info.as_is else ["alpha, grey or palette colours made RGB"]


def tell_companions(entries: Sequence[PhotoEntry]) -> None:
    """Tells of the files among the photos that belong to one."""
    kinds = Counter(entry.status for entry in entries)
    for status, what in (("mask", "mask"), ("depth", "depth map")):
        if kinds[status]:
            example = next(entry for entry in entries if entry.status == status)
            note(f"  {counted(kinds[status], what)} among the photos, such as {example.source}")
