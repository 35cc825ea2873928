"""Which export a folder is, told by what lies in it. A new format is one module and one line here."""

from __future__ import annotations

import contextlib
import functools
import os
from pathlib import Path
from types import ModuleType

from depthrf.errors import UsageError
from depthrf.io.captures import (
    colmap_project,
    llff,
    nerf_dataset,
    polycam,
    record3d,
    scanner_app,
    scannet,
    seven_scenes,
    stray_scanner,
)
from depthrf.io.captures.capture import Capture
from depthrf.io.files import parsing

# The first that matches: what a phone wrote before what was made from it, cameras with distortion (COLMAP) before LLFF.
READERS: tuple[ModuleType, ...] = (
    polycam,
    stray_scanner,
    scanner_app,
    record3d,
    scannet,
    seven_scenes,
    nerf_dataset,
    colmap_project,
    llff,
)

_MOST_STATED = 100_000  # files


def find_capture(folder: Path, model: int | None = None, *, outside: bool = False) -> Capture | None:
    """Reads ``folder`` when it is an export of a known kind; None when it is not, as a plain folder of photos.

    As long as no file in it changes, it is read once however often it is asked for.

    Args:
        folder: The folder.
        model: Of a COLMAP project with several models, the number of the one to read; None takes the largest.
        outside: Whether files outside the folder that a field of a nerfstudio or COLMAP data set names may be used.

    Raises:
        UsageError: It is one, but a file in it is not as its program writes it, or it has no photo with a pose.
    """
    reader = next((r for r in READERS if r.matches(folder)), None) if folder.is_dir() else None
    if model is not None and reader is not colmap_project:
        found = "a plain folder" if reader is None else f"a {reader.KIND}"
        raise UsageError(f"--model chooses one of the models of a COLMAP project; {folder} is {found}.")
    return None if reader is None else _read(READERS.index(reader), folder, model, outside, _state(folder))


@functools.lru_cache(maxsize=4)
def _read(reader_index: int, folder: Path, model: int | None, outside: bool, state: tuple[object, ...]) -> Capture:
    reader = READERS[reader_index]
    with parsing(folder, f"a {reader.KIND}"):
        capture = _read_with(reader, folder, model, outside)
    if not capture.shots:
        told = "".join(f" ({remark})" for remark in capture.remarks)
        raise UsageError(f"{folder} looks like a {reader.KIND}, but holds no photo with a pose{told}.")
    return capture


def _read_with(reader: ModuleType, folder: Path, model: int | None, outside: bool) -> Capture:
    if reader is colmap_project:
        return colmap_project.read(folder, model, outside=outside)
    if reader is nerf_dataset:
        return nerf_dataset.read(folder, outside=outside)
    capture: Capture = reader.read(folder)  # the names of files are not for the others' fields to choose
    return capture


def _state(folder: Path) -> tuple[object, ...]:
    """What changes when a file below the folder does."""
    files: list[tuple[str, int, int]] = []
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            with contextlib.suppress(OSError):
                stat = os.stat(os.path.join(place, name))
                files.append((os.path.join(place, name), stat.st_size, stat.st_mtime_ns))
        if len(files) > _MOST_STATED:
            break
    return tuple(files)


def kinds() -> str:
    """The known kinds, for messages."""
    return ", ".join(reader.KIND for reader in READERS)
