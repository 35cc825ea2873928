"""Which format a file of a camera path has; reading and writing any of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from depthrf.errors import UsageError
from depthrf.geometry.camera import View
from depthrf.io.camera_paths import colmap, nerfstudio, own
from depthrf.io.camera_paths.path_file import FilmPlan, PathFile
from depthrf.io.poses.given_poses import user_json

WRITERS: dict[str, Callable[[Path, FilmPlan], None]] = {
    "depthrf": own.write,
    "nerfstudio": nerfstudio.write,
    "colmap": colmap.write,
}


def read_path_file(path: Path, views: Sequence[View]) -> PathFile:
    """Reads a camera path of any known format.

    Args:
        path: The file, or COLMAP's folder.
        views: The workspace's photos, which keyframes may name.

    Raises:
        UsageError: It is of no known format, or not as its format says.
    """
    if colmap.recognises(path):
        return colmap.read(path)
    if not path.is_file():
        raise UsageError(f"No such camera path: {path}")
    content = user_json(path)
    if nerfstudio.recognises(content):
        return nerfstudio.read(path, content)
    if own.recognises(content):
        return own.read(path, content, views)
    raise UsageError(
        f"{path} is no camera path: expected depthrf's JSON (keyframes or frames), nerfstudio's (camera_path) or "
        "COLMAP's images.txt with cameras.txt."
    )
