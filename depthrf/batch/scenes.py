"""Which scenes a batch has, and where each one's workspace and log lie."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from depthrf.errors import UsageError
from depthrf.io.files import read_text


@dataclass(frozen=True)
class Scene:
    """One scene: its name, which is unique in the batch, its photos or video, its workspace and its log."""

    name: str
    photos: Path
    workspace: Path
    log: Path


def find_scenes(given: Iterable[str], output: Path) -> list[Scene]:
    """The scenes that the arguments name, in order, each once.

    Args:
        given: Photo folders or videos, patterns such as ``rooms/*``, and text files that name one a line. Relative
            lines of a file are relative to the file. Empty lines and those that begin with ``#`` do not count.
        output: Folder of the workspaces.

    Raises:
        UsageError: Nothing is there, or two scenes have the same name.
    """
    paths: dict[Path, None] = {}
    for text in given:
        for path in _named(text):
            paths[path.absolute()] = None
    scenes: dict[str, Scene] = {}
    for path in paths:
        name = path.name if path.is_dir() else path.stem
        if name in scenes:
            raise UsageError(
                f"Two scenes are called {name!r}: {scenes[name].photos} and {path}. Rename one, or run two batches."
            )
        scenes[name] = Scene(name, path, (output / name).absolute(), (output / f"{name}.log").absolute())
    return list(scenes.values())


def _named(text: str) -> list[Path]:
    path = Path(text)
    if path.suffix.lower() == ".txt" and path.is_file():
        lines = [line.strip() for line in read_text(path).splitlines()]
        return [found for line in lines if line and line[0] != "#" for found in _there(path.parent / line, text)]
    return _there(path, text)


def _there(path: Path, source: str) -> list[Path]:
    """The path, or what its pattern finds; of what a pattern finds, folders and videos alone count."""
    from depthrf.io.photos.folder import VIDEO_SUFFIXES

    if path.exists():
        return [path]
    found = [Path(p) for p in sorted(glob.glob(str(path)))]
    found = [p for p in found if p.is_dir() or p.suffix.lower() in VIDEO_SUFFIXES]
    if not found:
        where = "" if str(path) == source else f" (named in {source})"
        raise UsageError(f"No such scene: {path}{where}. Expected photo folders, videos, a pattern or a .txt file.")
    return found
