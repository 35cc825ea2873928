"""One visitor's eye: follows the browser's camera and sends pictures, coarse while it moves and sharp at rest."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.transform import Rotation

from depthrf.geometry.camera import Array
from depthrf.geometry.transforms import invert_rigid, rigid
from depthrf.viewer.renderer import Eye, Renderer

if TYPE_CHECKING:
    import viser

_REST_S = 0.4  # without a move, after which the sharp picture is rendered


class Walk:
    """Renders for one browser in a thread of its own, until :meth:`stop`."""

    def __init__(self, client: viser.ClientHandle, renderer: Renderer) -> None:
        self._client, self._renderer = client, renderer
        self._moved, self._stopped = threading.Event(), threading.Event()
        self.shows_field, self.shows_trust = True, False
        self._moved.set()
        client.camera.on_update(lambda _: self._moved.set())
        threading.Thread(target=self._run, name=f"viewer {client.client_id}", daemon=True).start()

    @property
    def eye(self) -> Eye:
        """Where the visitor looks from."""
        camera = self._client.camera
        rotation = Rotation.from_quat(np.asarray(camera.wxyz), scalar_first=True).as_matrix()
        return Eye(invert_rigid(rigid(rotation, np.asarray(camera.position))), float(camera.fov), float(camera.aspect))

    def stand(self, cam_from_world: Array, reach: float, fov: float | None = None) -> None:
        """Puts the visitor at a pose; dragging then turns around a point half of ``reach`` before it."""
        world_from_cam = invert_rigid(cam_from_world)
        with self._client.atomic():
            camera = self._client.camera
            camera.wxyz = Rotation.from_matrix(world_from_cam[:3, :3]).as_quat(scalar_first=True)
            camera.position = world_from_cam[:3, 3]
            camera.look_at = world_from_cam[:3, 3] + 0.5 * reach * world_from_cam[:3, 2]
            if fov is not None:
                camera.fov = fov

    def play(self, eyes: Sequence[Eye], fps: float, reach: float) -> None:
        """Leads the visitor along a path in real time."""
        start = time.monotonic()
        for number, eye in enumerate(eyes):
            if (ahead := start + number / fps - time.monotonic()) > 0:
                time.sleep(ahead)
            elif ahead < -1.0 / fps:
                continue  # late: leave frames out rather than play slowly
            if self._stopped.is_set():
                return
            self.stand(eye.cam_from_world, reach, eye.fov)

    def show_field(self, shown: bool) -> None:
        """Whether the field is rendered behind photos and points."""
        self.shows_field = shown
        self._moved.set()

    def show_trust(self, shown: bool) -> None:
        """Whether the field is tinted where fewer than two photos saw what it shows."""
        self.shows_trust = shown
        self._moved.set()

    def renew(self) -> None:
        """Renders again from where the visitor is."""
        self._moved.set()

    def stop(self) -> None:
        """Ends the thread after the picture in work."""
        self._stopped.set()
        self._moved.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._moved.wait()
            self._moved.clear()
            if self._stopped.is_set():
                return
            if not self.shows_field:
                self._client.scene.set_background_image(None)
                continue
            self._send(self._renderer.moving(self.eye, tinted=self.shows_trust), 70)
            if not self._moved.wait(_REST_S):
                sharp = self._renderer.sharp(self.eye, self._moved.is_set, tinted=self.shows_trust)
                if sharp is not None:
                    self._send(sharp, 90)

    def _send(self, picture: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], quality: int) -> None:
        if self._stopped.is_set():
            return
        self._client.scene.set_background_image(picture, format="jpeg", jpeg_quality=quality)
