"""Renders the field for a moving eye: as many pixels as fit into a fraction of a second, or a sharp picture at rest."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from depthrf.geometry.camera import Array, Camera, View
from depthrf.geometry.visibility import SeenDepth
from depthrf.io.camera_paths.path_file import focal_of
from depthrf.io.trained_field import TrainedField
from depthrf.nerf.normalise import normalise_view
from depthrf.nerf.rendering.views import render_view
from depthrf.stages.filming.pictures import unseen_pixels

_MOVING_S = 0.15  # for one picture while moving
_FEWEST, _MOST = 80 * 60, 640 * 480  # pixels of a picture while moving
_SHARP_SIDE = 640  # longer side of a picture at rest
_UNSEEN, _ONCE, _TINT = (230, 40, 40), (230, 170, 40), 0.5


@dataclass(frozen=True)
class Eye:
    """Where somebody looks from: pose (4, 4), vertical field of view in radians, width by height of the window."""

    cam_from_world: Array
    fov: float
    aspect: float

    def view(self, height: int) -> View:
        """The eye with a picture of ``height`` pixels, 16 at least."""
        height = max(16, height)
        width = max(16, round(height * self.aspect))
        focal = focal_of(math.degrees(self.fov), height)
        return View("eye", Camera(width, height, focal, focal, 0.5 * width, 0.5 * height), self.cam_from_world)


class Renderer:
    """One picture at a time, whoever asks. ``seen`` gives the photos' depth when a picture is to be tinted."""

    def __init__(self, field: TrainedField, seen: Callable[[], Sequence[SeenDepth]] = lambda: ()) -> None:
        self._field, self._seen = field, seen
        self._busy = threading.Lock()
        self._pixels_per_second = _FEWEST / _MOVING_S

    def show(self, field: TrainedField) -> None:
        """Renders this field from now on."""
        with self._busy:
            self._field = field

    def moving(self, eye: Eye, *, tinted: bool = False) -> NDArray[np.uint8]:
        """A picture as large as is rendered in about 0.15 seconds by the speed so far, (H, W, 3).

        ``tinted``: red where no photo saw what is shown, amber where only one did.
        """
        pixels = min(max(_MOVING_S * self._pixels_per_second, _FEWEST), _MOST)
        return self._render(eye.view(round(math.sqrt(pixels / eye.aspect))), tinted=tinted)

    def sharp(self, eye: Eye, moved: Callable[[], bool], *, tinted: bool = False) -> NDArray[np.uint8] | None:
        """A picture of 640 pixels, or of the photos' size in training where that is less, (H, W, 3).

        It is rendered in bands, and given up (None) once ``moved`` says that the eye is elsewhere.
        """
        side = min(_SHARP_SIDE, self._field.max_side)
        whole = eye.view(round(side / max(1.0, eye.aspect)))
        camera, bands, top = whole.camera, [], 0
        while top < camera.height:
            if moved():
                return None
            rows = max(8, round(_MOVING_S * self._pixels_per_second / camera.width))
            rows = min(rows, camera.height - top)
            band = whole.with_camera(replace(camera, height=rows, cy=camera.cy - top))
            bands.append(self._render(band, tinted=tinted))
            top += rows
        return np.concatenate(bands)

    def _render(self, view: View, *, tinted: bool = False) -> NDArray[np.uint8]:
        with self._busy:
            field, start = self._field, time.monotonic()
            picture = render_view(field.model, normalise_view(view, field.normalised_from_scene), field.bounds)
            rate = view.camera.width * view.camera.height / max(time.monotonic() - start, 1e-3)
        self._pixels_per_second = 0.5 * (self._pixels_per_second + rate)
        photos = self._seen() if tinted else ()
        if not photos:
            return picture.rgb
        depth = picture.depth / np.float32(field.normalised_from_scene.scale)
        return tint(picture.rgb, unseen_pixels(view, depth, photos))


def tint(rgb: NDArray[np.uint8], seen: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The picture (H, W, 3), red where ``seen`` (h, w), of any size, is 0, and amber where it is 1."""
    import cv2

    height, width = rgb.shape[:2]
    large = cv2.resize(seen.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    result = rgb.astype(np.float32)
    for count, colour in enumerate((_UNSEEN, _ONCE)):
        result[large == count] = (1.0 - _TINT) * result[large == count] + _TINT * np.array(colour, np.float32)
    return np.asarray(result.round(), dtype=np.uint8)
