"""Pictures of a film's frames beside their colours: depth with its scale, normals, and what no photo saw."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from depthrf.geometry.camera import View, surface_normals
from depthrf.geometry.visibility import SeenDepth, levels, sightings
from depthrf.io.draw.overlays import ColourScale, Picture

_TRUST_SIDE = 320  # pixels of the map of what photos saw
_SLACK = 0.015  # of a depth: how far rendered depth may lie from the photos' beside their sigma
_HATCH = 12  # pixels from line to line at 960 pixels


def unseen_pixels(view: View, depth: NDArray[np.float32], photos: Sequence[SeenDepth]) -> NDArray[np.int64]:
    """2, 1 or 0 for each pixel of a small copy of the picture, (h, w): two photos or more saw it, one, or none.

    Args:
        view: The frame, in scene coordinates.
        depth: (H, W) rendered z-depth, scene units.
        photos: The photos' depth.
    """
    camera = view.camera.fitted(_TRUST_SIDE)
    small = cv2.resize(depth, (camera.width, camera.height), interpolation=cv2.INTER_NEAREST).astype(np.float64)
    pose = view.world_from_cam
    points = (camera.directions(camera.pixel_centres()) * small[..., None]).reshape(-1, 3) @ pose[:3, :3].T + pose[
        :3, 3
    ]
    found = sightings(points, photos, _SLACK * small.reshape(-1))
    return levels(found, view.centre - points).reshape(small.shape)


def hatch_unseen(rgb: Picture, seen: NDArray[np.int64]) -> Picture:
    """The picture, grey and hatched where ``seen`` (h, w), of any size, is 0: no photo saw it."""
    height, width = rgb.shape[:2]
    unseen = cv2.medianBlur((seen == 0).astype(np.uint8), 5)
    unseen = cv2.resize(unseen, (width, height), interpolation=cv2.INTER_NEAREST).astype(bool)
    grey = cv2.cvtColor(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    period = max(4, round(_HATCH * max(height, width) / 960))
    y, x = np.mgrid[0:height, 0:width]
    lines = ((x + y) % period) < max(1, period // 6)
    result = np.where(unseen[..., None], grey, rgb)
    result[unseen & lines] = 255 - (255 - result[unseen & lines]) // 2
    return np.asarray(result, dtype=np.uint8)


def paint_normals(view: View, depth: NDArray[np.float32]) -> Picture:
    """Directions of the surfaces, from depth (H, W): red right, green up, blue towards the camera."""
    points = view.camera.directions(view.camera.pixel_centres()) * cv2.medianBlur(depth, 3)[..., None]
    normal = surface_normals(points)
    normal *= np.where((normal * points).sum(-1, keepdims=True) > 0, -1.0, 1.0)
    shown = normal * [1.0, -1.0, -1.0]  # OpenCV axes point down and away
    return np.asarray((127.5 * (shown + 1.0)).round().clip(0, 255), dtype=np.uint8)


def with_scale(picture: Picture, scale: ColourScale, metres_per_unit: float | None) -> Picture:
    """A depth picture with the meaning of its colours along its lower edge; in metres where their scale is known."""
    from PIL import Image, ImageDraw, ImageFont

    height, width = picture.shape[:2]
    bar, size = max(4, height // 40), max(8, height // 30)
    result = picture.copy()
    result[-bar:] = scale.paint(np.array(scale.ticks(width)))
    result[-bar - 1] = 0
    image = Image.fromarray(result)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size)
    factor, unit = (1.0, "") if metres_per_unit is None else (metres_per_unit, " m")
    ticks = scale.ticks(5)
    for index, value in enumerate(ticks):
        text = f"{factor * value:.3g}{unit if index == len(ticks) - 1 else ''}"
        wide = draw.textlength(text, font=font)
        x = index * (width - 1) / (len(ticks) - 1) - wide * index / (len(ticks) - 1)
        draw.text((x, height - bar - size - 4), text, font=font, fill="white", stroke_width=2, stroke_fill="black")
    return np.asarray(image)
