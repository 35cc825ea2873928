"""Where the files lie that a data set names: one rule for photos, depth maps and masks, in every format.

Data sets are made on one machine and read on another. Their paths may hold backslashes, percent-encoded characters,
``../``, the root of the other machine, or leave the ending out. A path is tried as it is written, then its tail below
the data set's folder, then its name alone where only one file of that kind has it. Files outside that folder are taken
only where the user allows it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from depthrf.io.files import why_not_regular

_MOST_INDEXED = 200_000  # files


@dataclass(frozen=True)
class FileKind:
    """What a field names. ``words``: one of them is in the path of such a file; photos lie where none of them is."""

    name: str
    endings: tuple[str, ...]
    words: tuple[str, ...] = ()

    def fits(self, parts: tuple[str, ...]) -> bool:
        """Whether a file at this path below the data set's folder may be found by its name alone."""
        if self.words:
            return any(word in part.lower() for part in parts for word in self.words)
        return not any(word in folder.lower() for folder in parts[:-1] for word in _OTHER_THAN_PHOTOS)


_OTHER_THAN_PHOTOS = ("depth", "mask", "confidence", "normal", "thumb")
PHOTO = FileKind("photo", (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".heic", ".bmp"))
DEPTH_MAP = FileKind("depth map", (".png", ".npy", ".exr", ".npz"), ("depth",))
MASK = FileKind("mask", (".png", ".jpg", ".jpeg"), ("mask",))


def plain_name(text: object) -> str:
    """A path as data sets' names are compared: forward slashes, without ``./``."""
    return PurePosixPath(str(text).strip().replace("\\", "/")).as_posix()


class DatasetFiles:
    """Finds the files of a data set by the paths that its fields hold.

    Args:
        root: Its folder.
        outside: Whether a path may lead out of it. A data set from elsewhere could name any file of its user's, and
            what is named ends up in films and reports.
    """

    def __init__(self, root: Path, *, outside: bool = False) -> None:
        self.root = root
        self._outside = outside
        self._by_name: dict[str, list[Path]] | None = None

    def find(self, written: str, kind: FileKind) -> Path | None:
        """The regular file that a field means; None where there is none, or where it may be one of several."""
        spellings = list(dict.fromkeys(_spellings(written)))
        for spelling in spellings:
            if (found := self._as_written(spelling, kind)) is not None and (
                self._outside or not self.is_outside(found)
            ):
                return found
        tails = [tail for spelling in spellings if (tail := _tail(spelling))]
        for tail in tails:
            for start in range(len(tail)):
                found = _with_ending(self.root.joinpath(*tail[start:]), kind)
                alone = start == len(tail) - 1  # a name alone says nothing of what the file is
                if found is not None and (not alone or kind.fits(tail[start:])):
                    return found
        return next((found for tail in tails if (found := self._by_its_name(tail, kind)) is not None), None)

    def names_outside(self, written: str, kind: FileKind) -> bool:
        """Whether a field means a file that is there, but not in the data set's folder."""
        found = (self._as_written(spelling, kind) for spelling in _spellings(written))
        return any(path is not None and self.is_outside(path) for path in found)

    def _as_written(self, spelling: str, kind: FileKind) -> Path | None:
        found = _with_ending(self.root / spelling, kind)
        return None if found is None else _without_detours(found)

    def is_outside(self, path: Path) -> bool:
        """Whether a path leads out of the data set's folder, by its spelling; links inside are its owner's affair."""
        root = os.path.abspath(self.root)
        return os.path.commonpath([root, os.path.abspath(path)]) != root

    def _by_its_name(self, tail: tuple[str, ...], kind: FileKind) -> Path | None:
        if self._by_name is None:
            self._by_name = _index(self.root)
        name = tail[-1].casefold()
        found = [path for ending in ("", *kind.endings) for path in self._by_name.get(name + ending, ())]
        found = [p for p in found if kind.fits(p.relative_to(self.root).parts) and why_not_regular(p) is None]
        if len(found) > 1 and len(tail) > 1:  # several folders hold such a file: the one whose folder is named alike
            found = [path for path in found if path.parent.name.casefold() == tail[-2].casefold()]
        return found[0] if len(found) == 1 else None


def _spellings(written: str) -> Iterator[str]:
    """The ways in which a path may be meant."""
    yield written
    plain = plain_name(written.removeprefix("file://"))
    yield plain
    yield unquote(plain)


def _tail(spelling: str) -> tuple[str, ...]:
    """The parts of a path without root, drive and ``..``."""
    parts = PurePosixPath(spelling).parts
    return tuple(part for part in parts if part not in ("/", "//", "..", ".") and not part.endswith(":"))


def _with_ending(path: Path, kind: FileKind) -> Path | None:
    """The file itself, or where the ending is left out or written otherwise, the one that has it."""
    try:
        candidates = [path]
        if path.suffix.lower() not in kind.endings:
            candidates += [path.with_name(path.name + e) for ending in kind.endings for e in (ending, ending.upper())]
        else:
            candidates += [path.with_suffix(e) for e in (path.suffix.lower(), path.suffix.upper()) if e != path.suffix]
        return next((p for p in candidates if why_not_regular(p) is None), None)
    except ValueError:  # no name at all, or a zero byte in it
        return None


def _without_detours(path: Path) -> Path:
    """The path without ``..``, where that leads to the same file."""
    straight = Path(os.path.normpath(path))
    return straight if straight.exists() and straight.samefile(path) else path


def _index(root: Path) -> dict[str, list[Path]]:
    """Files below a folder by their names, without those in hidden folders."""
    by_name: dict[str, list[Path]] = {}
    count = 0
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            by_name.setdefault(name.casefold(), []).append(Path(folder, name))
        count += len(files)
        if count > _MOST_INDEXED:
            break
    return by_name
