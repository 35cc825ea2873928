"""Files that belong to a photo by their names: masks in folders of their own, masks and depth maps among the photos.

One rule for all of them. A mask of ``IMG_3.jpg`` may be called ``IMG_3.png``, ``IMG_3.jpg.png`` (as COLMAP has it),
``IMG_3_mask.png`` or ``mask_IMG_3.png``, with any common ending and with ``-``, ``.`` or a blank for ``_``. Folders
below the photos are found again below the masks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from depthrf.errors import UsageError
from depthrf.io.files import why_not_regular
from depthrf.io.masks import is_two_level
from depthrf.io.photos.folder import MASK_FOLDERS

_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif")
_PHOTOS = (".jpg", ".jpeg", ".heic", ".heif", ".tif", ".tiff", ".webp")
_MAPS = (".png", ".npy", ".exr", ".tif", ".tiff")
_MASK = re.compile(r"(?:dynamic_)?masks?[-_. ]+(?P<after>.+)|(?P<before>.+?)[-_. ]+(?:dynamic_)?masks?")
_DEPTH = re.compile(r"depth(?:map)?s?[-_. ]+(?P<after>.+)|(?P<before>.+?)[-_. ]+depth(?:map)?s?")
_COLOUR = re.compile(r"(?:colou?r|rgb|image|img)[-_. ]+(?P<after>.+)|(?P<before>.+?)[-_. ]+(?:colou?r|rgb|image|img)")


@dataclass(frozen=True)
class Companions:
    """The files of a photo folder, sorted: ``masks`` and ``depths`` by the photo they belong to."""

    photos: list[Path]
    masks: dict[Path, Path] = field(default_factory=dict)
    depths: dict[Path, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class FoundFiles:
    """Masks or depth maps by photo; ``folder`` is where they were looked for, ``spare`` what there matches no photo."""

    by_photo: dict[Path, Path]
    folder: Path | None = None
    spare: tuple[Path, ...] = ()


def sort_out(entries: Sequence[Path]) -> Companions:
    """Tells the photos of a folder from the masks and depth maps that lie among them.

    Only names that say so are taken, and only where the photo is there too; whether a depth map is one is for its
    reader to see.
    """
    by_key: dict[str, Path] = {}
    companions: list[tuple[Path, str, bool]] = []
    for path in entries:
        key, is_depth = _marked(path)
        if key is not None:
            companions.append((path, key, is_depth))
            continue
        for own in _keys(path):
            by_key.setdefault(own, path)
    masks: dict[Path, Path] = {}
    depths: dict[Path, Path] = {}
    for path, key, is_depth in companions:
        photo = by_key.get(key)
        if photo is not None:
            (depths if is_depth else masks).setdefault(photo, path)
    for photo, mask in _unmarked_masks(entries):
        masks.setdefault(photo, mask)
    taken = {*masks.values(), *depths.values()}
    return Companions([path for path in entries if path not in taken], masks, depths)


def _unmarked_masks(entries: Sequence[Path]) -> Iterator[tuple[Path, Path]]:
    """Black and white PNG files that are called like a photo of another format."""
    photos = {path.stem.casefold(): path for path in entries if path.suffix.lower() in _PHOTOS}
    for path in entries:
        photo = photos.get(path.stem.casefold())
        if photo is not None and path.suffix.lower() == ".png" and why_not_regular(path) is None and is_two_level(path):
            yield photo, path


def find_masks(
    source: Path, photos: Sequence[Path], given: Path | None, others: Mapping[Path, Path] | None = None
) -> FoundFiles:
    """The masks of photos: of ``given``, else those that the data set names or that lie among the photos, else of a
    folder ``masks`` in or beside the photo folder.

    Args:
        source: The photo folder, or a video.
        photos: The photos.
        given: A folder the user names.
        others: Masks known otherwise, by photo.

    Raises:
        UsageError: The given folder does not exist, or none of its files is named like a photo.
    """
    if given is not None:
        if not given.is_dir():
            raise UsageError(f"No such folder of masks: {given}")
        found = _in_folder(given, source, photos, _PICTURES, _MASK)
        if not found.by_photo and photos:
            raise UsageError(f"No mask in {given} is named like a photo; {expected(photos)}.")
        return found
    if others:
        return FoundFiles({photo: others[photo] for photo in photos if photo in others})
    places = [source, source.absolute().parent] if source.is_dir() else []
    folders = [place / name for place in places for name in MASK_FOLDERS if (place / name).is_dir()]
    looked = [_in_folder(folder, source, photos, _PICTURES, _MASK) for folder in folders]
    with_any = [found for found in looked if found.by_photo]
    return with_any[0] if with_any else next(iter(looked), FoundFiles({}))


def find_depth_maps(folder: Path, source: Path, photos: Sequence[Path], endings: Sequence[str]) -> FoundFiles:
    """The depth maps of photos in a folder, named like masks but for the word.

    Args:
        folder: Where to look, with its sub-folders.
        source: The photo folder, or a video.
        photos: The photos.
        endings: Of files that may be depth maps.
    """
    return _in_folder(folder, source, photos, endings, _DEPTH)


def expected(photos: Sequence[Path]) -> str:
    """Which names masks may have, for messages."""
    name, stem = photos[0].name, photos[0].stem
    return f"expected names such as {stem}.png, {name}.png or {stem}_mask.png"


def _in_folder(
    folder: Path, source: Path, photos: Sequence[Path], endings: Sequence[str], word: re.Pattern[str]
) -> FoundFiles:
    files = [p for p in sorted(folder.rglob("*")) if p.suffix.lower() in endings and not p.name.startswith(".")]
    by_place: dict[tuple[str, ...], dict[str, Path]] = {}
    for path in (p for p in files if why_not_regular(p) is None):
        names = by_place.setdefault(_lower(path.relative_to(folder).parent.parts), {})
        for key in _own_keys(path, word):
            # ``a.jpg.png`` before ``a.png`` before other spellings, as they are more exact.
            if key not in names or _rank(path, key) < _rank(names[key], key):
                names[key] = path
    stems = [photo.stem.casefold() for photo in photos]
    found = {}
    for photo in photos:
        for place in _places(photo, source):
            if not place and stems.count(photo.stem.casefold()) > 1 and len({p.parent for p in photos}) > 1:
                break  # it could be that of either
            names = by_place.get(place, {})
            match = next((names[key] for key in _keys(photo) if key in names), None)
            if match is not None:
                found[photo] = match
                break
    used = set(found.values())
    return FoundFiles(found, folder, tuple(path for path in files if path not in used))


def _places(photo: Path, source: Path) -> list[tuple[str, ...]]:
    """Below the masks, the folders where a photo's mask may lie: its own below the photo folder, ever less of it."""
    parts = _lower(photo.relative_to(source).parent.parts) if photo.is_relative_to(source) else ()
    return [parts[start:] for start in range(len(parts) + 1)]


def _lower(parts: Iterable[str]) -> tuple[str, ...]:
    return tuple(part.casefold() for part in parts)


def _keys(photo: Path) -> list[str]:
    """What masks and depth maps may call a photo: its name, its stem, and its stem without a word for colour."""
    keys = [photo.name.casefold(), photo.stem.casefold()]
    return keys + ([bare] if (bare := _without(photo.stem.casefold(), _COLOUR)) else [])


def _own_keys(path: Path, word: re.Pattern[str]) -> list[str]:
    """The photos' names that a file in a folder of masks, or of depth maps, may stand for."""
    stem = path.stem.casefold()
    marked = _without(stem, word)
    return [stem, *([marked] if marked else [])]


def _rank(path: Path, key: str) -> tuple[bool, bool, str]:
    return path.stem.casefold() != key, path.suffix.lower() != ".png", path.name


def _marked(path: Path) -> tuple[str | None, bool]:
    """Which photo a file among photos says it belongs to, and whether as a depth map; None where it says nothing."""
    stem, suffix = path.stem.casefold(), path.suffix.lower()
    if suffix in _MAPS and (key := _without(stem, _DEPTH)):
        return key, True
    if suffix in _PICTURES:
        if key := _without(stem, _MASK):
            return key, False
        if Path(stem).suffix in (*_PICTURES, ".heic", ".heif"):  # IMG_3.jpg.png
            return stem, False
    return None, False


def _without(stem: str, word: re.Pattern[str]) -> str | None:
    """A stem without a word before or behind it; None where it has none."""
    match = word.fullmatch(stem)
    return (match["after"] or match["before"]) if match else None
