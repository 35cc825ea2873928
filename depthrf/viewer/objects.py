"""What one browser shows beside the field, and the switches for it: photos on their frusta, and points."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial.transform import Rotation

from depthrf.geometry.camera import View
from depthrf.viewer.content import Cloud, Content
from depthrf.viewer.walk import Walk

if TYPE_CHECKING:
    import viser

_FRUSTUM, _NEAR = 0.05, 0.15  # depth of a frustum, and the distance at which it is in the way, in units of the reach


def fov_of(view: View) -> float:
    """Vertical field of view in radians."""
    return 2.0 * math.atan(0.5 * view.camera.height / view.camera.fy)


def add_objects(client: viser.ClientHandle, content: Content, walk: Walk) -> None:
    """Adds the objects to one browser, so that each can hide what is in its way."""
    gui, frusta = client.gui, [_add_frustum(client, content, view, walk) for view in content.views]
    centres = np.stack([view.centre for view in content.views])
    show_photos = gui.add_checkbox("Photos", initial_value=True)
    show_sparse = gui.add_checkbox("Sparse points", initial_value=False)
    show_fused = gui.add_checkbox("Points of the depth prior", initial_value=False)
    sparse = _add_cloud(client, "/sparse", content.sparse, content.reach, visible=False)
    fused: list[Any] = []

    def show_frusta(_: Any = None) -> None:
        """All but those at the eye, whose photo would cover the picture."""
        away = np.linalg.norm(centres - np.asarray(client.camera.position), axis=1) > _NEAR * content.reach
        for frustum, far in zip(frusta, away, strict=True):
            wanted = bool(show_photos.value and far)
            if frustum.visible != wanted:
                frustum.visible = wanted

    client.camera.on_update(show_frusta)
    show_photos.on_update(show_frusta)

    @show_sparse.on_update
    def _(_: Any) -> None:
        sparse.visible = show_sparse.value

    @show_fused.on_update
    def _(_: Any) -> None:
        if not fused:  # read when first asked for
            fused.append(_add_cloud(client, "/depth", content.fused(), content.reach, visible=True))
        fused[0].visible = show_fused.value


def _add_frustum(client: viser.ClientHandle, content: Content, view: View, walk: Walk) -> Any:
    pose = view.world_from_cam
    frustum: Any = client.scene.add_camera_frustum(
        f"/photos/{view.stem}",
        fov=fov_of(view),
        aspect=view.camera.width / view.camera.height,
        scale=_FRUSTUM * content.reach,
        thickness=0.001 * content.reach,
        image=content.thumbnail(view),
        wxyz=Rotation.from_matrix(pose[:3, :3]).as_quat(scalar_first=True),
        position=pose[:3, 3],
        color=(230, 160, 40),
    )
    frustum.on_click(lambda _: walk.stand(view.cam_from_world, content.reach, fov_of(view)))
    return frustum


def _add_cloud(client: viser.ClientHandle, name: str, cloud: Cloud, reach: float, *, visible: bool) -> Any:
    points = cloud.points.astype(np.float32)
    return client.scene.add_point_cloud(
        name, points, cloud.colors, point_size=0.004 * reach, precision="float32", visible=visible
    )
