"""Did COLMAP write its files whole? On a full disk it goes on without a word, and leaves them cut off."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from depthrf.errors import DepthrfError
from depthrf.io.files import is_whole_picture
from depthrf.workspace import Workspace

if TYPE_CHECKING:
    from depthrf.sfm.jobs import Model

_BYTES = {"float": 4, "double": 8, "uchar": 1, "int": 4, "uint": 4}
_LONGEST_HEADER = 4096


def check_whole(workspace: Workspace, model: Model) -> None:
    """Checks what SfM has just written.

    Raises:
        DepthrfError: A file is missing, cut off, or holds less than the model.
    """
    cut_off = [workspace.undistorted_images / view.name for view in model.views]
    cut_off = [path for path in cut_off if not is_whole_picture(path)]
    if not _is_whole_ply(workspace.sparse_point_cloud):
        cut_off.append(workspace.sparse_point_cloud)
    cut_off += [folder for folder in (workspace.sfm_model, workspace.undistorted_sparse) if not _holds(folder, model)]
    if cut_off:
        raise DepthrfError(
            f"{cut_off[0]} was not written whole: the disk is probably full. Make room, and run it again."
        )


def _is_whole_ply(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            header, found, _ = file.read(_LONGEST_HEADER).partition(b"end_header\n")
    except OSError:
        return False
    words = [line.split() for line in header.decode("ascii", "replace").splitlines()]
    count = sum(int(line[2]) for line in words if line[:2] == ["element", "vertex"])
    each = sum(_BYTES[line[1]] for line in words if line[:1] == ["property"])
    return bool(found) and path.stat().st_size >= len(header) + len(found) + count * each


def _holds(folder: Path, model: Model) -> bool:
    from depthrf.io.poses.colmap import read_model

    try:
        found = read_model(folder)
    except DepthrfError:
        return False
    names = {image.name for image in found.images.values()}
    return len(found.xyz) == model.num_points and names >= {v.name for v in model.views} - model.test
