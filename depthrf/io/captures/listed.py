"""What a data set lists and what of it is there: the account that every reader keeps, and its user is told."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from depthrf.io.dataset_paths import PHOTO, DatasetFiles, FileKind, plain_name
from depthrf.io.naming import counted, some_of
from depthrf.io.poses.given_poses import PoseNotFiniteError

NOT_THERE = "listed, but not there"
OUTSIDE = "lies outside the data set's folder"
WITHOUT_POSE = "has no pose"
LOST = "its pose is not finite: tracking was lost"


@dataclass(frozen=True)
class LeftOut:
    """A photo of a data set that is not used. ``name`` is as the data set writes it."""

    name: str
    reason: str


class Listed:
    """Looks up what a data set lists below ``root``, and remembers what is not there or lies elsewhere.

    Files outside ``root`` are only used where ``outside`` allows it.
    """

    def __init__(self, root: Path, *, outside: bool = False) -> None:
        self._files = DatasetFiles(root, outside=outside)
        self._asked: dict[FileKind, int] = {}
        self._absent: dict[FileKind, list[str]] = {}
        self._outside: list[str] = []
        self._barred: list[str] = []
        self._taken: dict[Path, str] = {}
        self._left_out: list[LeftOut] = []

    def find(self, name: str, kind: FileKind = PHOTO) -> Path | None:
        """The file that a field names; None, and counted, where it is not there.

        Two names of photos that lead to one file are a guess gone wrong: the second is not there.
        """
        found = self._files.find(name, kind)
        if found is not None and kind == PHOTO and self._taken.setdefault(found, name) != name:
            found = None
        if found is not None and self._files.is_outside(found):
            self._outside.append(str(found))
        if found is None and self._files.names_outside(name, kind):
            self._barred.append(name)
            if kind == PHOTO:
                self._left_out.append(LeftOut(name, OUTSIDE))
            return None
        return self.expect(name, found, kind)

    def expect(self, name: str, found: Path | None, kind: FileKind = PHOTO) -> Path | None:
        """Counts a file that belongs to another by its name; returns ``found``."""
        self._asked[kind] = self._asked.get(kind, 0) + 1
        if found is None:
            self._absent.setdefault(kind, []).append(name)
            if kind == PHOTO:
                self._left_out.append(LeftOut(name, NOT_THERE))
        return found

    @contextlib.contextmanager
    def frame(self, name: str) -> Iterator[None]:
        """Around the reading of one frame: where its pose is not finite, that frame alone is left out."""
        try:
            yield
        except PoseNotFiniteError:
            self._left_out.append(LeftOut(name, LOST))

    def lost(self, names: Iterable[str]) -> None:
        """Counts frames whose pose is not finite."""
        self._left_out += [LeftOut(name, LOST) for name in names]

    def without_pose(self, photos: Iterable[Path]) -> None:
        """Counts photos that are there but have no pose."""
        known = {PurePosixPath(plain_name(photo.name)).name for photo in self._left_out}
        self._left_out += [LeftOut(photo.name, WITHOUT_POSE) for photo in photos if photo.name not in known]

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """The photos that are not used."""
        return tuple(self._left_out)

    def remarks(self) -> tuple[str, ...]:
        """One sentence for each thing that its user should know."""
        sentences = [self._not_there()] if self._absent else []
        for reason, words in ((WITHOUT_POSE, "without a pose"), (LOST, "whose pose is not finite (tracking was lost)")):
            names = [photo.name for photo in self._left_out if photo.reason == reason]
            if names:
                verb = "is" if len(names) == 1 else "are"
                sentences.append(f"{counted(len(names), 'photo')} {words} {verb} left out: {some_of(names)}")
        if self._outside:
            verb = "lies" if len(self._outside) == 1 else "lie"
            sentences.append(
                f"{counted(len(self._outside), 'file')} that it names {verb} outside its folder and "
                f"{_is(self._outside)} used: {some_of(self._outside)}"
            )
        if self._barred:
            verb = "lies" if len(self._barred) == 1 else "lie"
            sentences.append(
                f"{counted(len(self._barred), 'file')} that it names {verb} outside its folder and "
                f"{_is(self._barred)} not used; --allow-outside takes them: {some_of(self._barred)}"
            )
        return tuple(sentences)

    def _not_there(self) -> str:
        absent = {kind: self._absent[kind] for kind in sorted(self._absent, key=lambda kind: kind != PHOTO)}
        parts = []
        for kind, names in absent.items():
            listed = "listed " if kind == PHOTO else ""
            plural = "s" if self._asked[kind] > 1 else ""
            parts.append(f"{len(names)} of {self._asked[kind]} {listed}{kind.name}{plural}")
        names = [name for names in absent.values() for name in names]
        first = [names[0] for names in absent.values()] if len(absent) > 1 else names
        return f"{' and '.join(parts)} {_is(names)} not there: {some_of(first, len(names))}"


def _is(names: Sequence[object]) -> str:
    return "is" if len(names) == 1 else "are"
