"""The monocular depth map of one photo in the workspace, with a picture of it."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from depthrf.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def write_mono_map(workspace: Workspace, name: str, values: NDArray[np.float32], kind: str) -> None:
    """Writes ``depth/mono/<stem>.npy`` and ``depth/mono/overlays/<stem>.jpg``.

    Args:
        workspace: Where to.
        name: File name of the photo.
        values: (H, W) in the network's own numbers, nan = unknown.
        kind: What they are: ``depth``, ``inverse_depth``, ``metric`` or ``unknown``.
    """
    from depthrf.io.depth.depth_maps import write_map
    from depthrf.io.draw.depth_pictures import draw_prediction
    from depthrf.io.photos.images import write_jpeg

    stem = PurePosixPath(name).stem
    write_map(workspace.mono_depth / f"{stem}.npy", values)
    picture = draw_prediction(workspace.undistorted_images / name, values, kind)
    write_jpeg(workspace.mono_depth / "overlays" / f"{stem}.jpg", picture)
