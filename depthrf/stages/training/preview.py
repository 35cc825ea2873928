"""Pictures of a field in training: a photo, the same view rendered, its depth, side by side (``nerf/val/``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from depthrf.storage import remove
from depthrf.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from depthrf.geometry.camera import View
    from depthrf.io.trained_field import TrainedField

_MAX_SIDE = 160


class Preview:
    """Renders one view small: the first held-out one, or the middle one of those trained on."""

    def __init__(self, workspace: Workspace) -> None:
        import cv2

        from depthrf.io.photos.images import read_rgb
        from depthrf.io.poses.transforms_json import load_views

        train, held_out = load_views(workspace.transforms)
        view = held_out[0] if held_out else train[len(train) // 2]
        self.view: View = view.with_camera(view.camera.fitted(_MAX_SIDE))
        self.num_pixels = self.view.camera.width * self.view.camera.height
        size = (self.view.camera.width, self.view.camera.height)
        photo = read_rgb(workspace.undistorted_images / view.name)
        self.photo: NDArray[np.uint8] = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
        self.folder = workspace.previews

    def clear(self) -> None:
        """Removes the pictures of an earlier run."""
        remove(self.folder)

    def write(self, field: TrainedField, step: int) -> None:
        """``step_<step>.png``: photo, rendering, depth."""
        import numpy as np

        from depthrf.io.photos.images import write_png
        from depthrf.nerf.normalise import normalise_view
        from depthrf.nerf.rendering.views import render_view

        view = normalise_view(self.view, field.normalised_from_scene)
        rendered = render_view(field.model, view, field.bounds, compiled=False)
        depth = field.depth_colours.paint(rendered.depth)
        write_png(self.folder / f"step_{step:05d}.png", np.concatenate([self.photo, rendered.rgb, depth], axis=1))
