"""Which export a folder is, told by what lies in it. A new format is one module and one line here."""

from __future__ import annotations

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
    stray_scanner,
)
from depthrf.io.captures.capture import Capture

# The first that matches: what a phone wrote before what was made from it, cameras with distortion (COLMAP) before LLFF.
READERS: tuple[ModuleType, ...] = (
    polycam,
    stray_scanner,
    scanner_app,
    record3d,
    scannet,
    nerf_dataset,
    colmap_project,
    llff,
)


def find_capture(folder: Path) -> Capture | None:
    """Reads ``folder`` when it is an export of a known kind; None when it is not, as a plain folder of photos.

    Raises:
        UsageError: It is one, but a file in it is not as its program writes it, or it has no photo with a pose.
    """
    reader = next((r for r in READERS if r.matches(folder)), None) if folder.is_dir() else None
    if reader is None:
        return None
    capture: Capture = reader.read(folder)
    if not capture.shots:
        raise UsageError(f"{folder} looks like {capture.kind}, but holds no photo with a pose.")
    return capture


def kinds() -> str:
    """The known kinds, for messages."""
    return ", ".join(reader.KIND for reader in READERS)
