"""Looks at six thumbnails of a film before the long work: is it opaque, sharp, of what photos saw?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from depthrf.geometry.camera import View
from depthrf.geometry.visibility import SeenDepth, share_of
from depthrf.io.draw.overlays import ColourScale, Picture
from depthrf.stages.filming.cameras import nearest_photos
from depthrf.stages.filming.pictures import unseen_pixels
from depthrf.stages.filming.trust import MOST_UNSEEN

if TYPE_CHECKING:
    from depthrf.io.trained_field import TrainedField

_THUMBNAILS, _SIDE = 6, 160
_LEAST_OPAQUE = 0.5  # of the opacity at the nearest photo's viewpoint
_LEAST_SHARP = 0.2  # of the sharpness there; of the photos' sharpness a warning
_LEAST_CONTRAST, _LEAST_MOTION = 4.0, 0.5  # of 255


@dataclass(frozen=True)
class Preflight:
    """problems: why the path should not be rendered, empty where it may. warnings: about the field, whatever the path.
    colours: of depth in scene units, one scale for the whole film. sheet: the thumbnails."""

    problems: list[str]
    warnings: list[str]
    colours: ColourScale
    sheet: Picture


def preflight(
    field: TrainedField, frames: Sequence[View], photos: Sequence[View], images: Path, depths: Sequence[SeenDepth]
) -> Preflight:
    """Renders six thumbnails of a film and compares them with the viewpoints of the nearest photos.

    A poor field is no fault of the path: what is compared is the path's picture with the field's picture at a photo.

    Args:
        field: The trained field.
        frames: The film's views, scene coordinates.
        photos: The photos' views.
        images: Folder of the undistorted photos.
        depths: The photos' depth; empty where it is not known.
    """
    from depthrf.io.photos.images import read_rgb

    chosen = [frames[int((i + 0.5) * len(frames) / _THUMBNAILS)] for i in range(_THUMBNAILS)]
    nearest = [photos[nearest_photos(view, photos)[0]] for view in chosen]
    at_photos = {view.name: _Thumbnail.of(field, view, depths) for view in nearest}
    thumbs = [_Thumbnail.of(field, view, depths) for view in chosen]
    pairs = [(thumb, at_photos[photo.name]) for thumb, photo in zip(thumbs, nearest, strict=True)]
    opaque = min(thumb.opacity / max(1e-3, photo.opacity) for thumb, photo in pairs)
    sharp = [thumb.sharpness / max(1e-3, photo.sharpness) for thumb, photo in pairs]
    problems = []
    if opaque < _LEAST_OPAQUE:
        problems.append(f"the picture is see-through ({opaque:.0%} of the opacity at the nearest photo)")
    if sum(s < _LEAST_SHARP for s in sharp) >= _THUMBNAILS // 2:
        problems.append(f"the picture is blurred ({np.median(sharp):.0%} of the sharpness at the nearest photo)")
    if sum(thumb.unseen > photo.unseen + MOST_UNSEEN for thumb, photo in pairs) >= 2:
        problems.append(f"no photo saw {max(thumb.unseen for thumb in thumbs):.0%} of a picture")
    warnings = _about_the_field(thumbs, at_photos, {p.name: read_rgb(images / p.name) for p in nearest})
    colours = ColourScale.of_depth(np.concatenate([thumb.depth.reshape(-1) for thumb in thumbs]))
    return Preflight(problems, warnings, colours, _sheet([thumb.rgb for thumb in thumbs]))


@dataclass(frozen=True)
class _Thumbnail:
    """A small picture of the field. depth: (h, w) scene units. unseen: share of it that no photo saw."""

    rgb: Picture
    depth: NDArray[np.float32]
    opacity: float
    sharpness: float
    unseen: float

    @staticmethod
    def of(field: TrainedField, view: View, depths: Sequence[SeenDepth]) -> _Thumbnail:
        from depthrf.nerf.normalise import normalise_view
        from depthrf.nerf.rendering.views import render_view

        view = view.with_camera(view.camera.fitted(_SIDE))
        rendered = render_view(field.model, normalise_view(view, field.normalised_from_scene), field.bounds)
        depth = rendered.depth / np.float32(field.normalised_from_scene.scale)
        unseen = share_of(unseen_pixels(view, depth, depths)).none if depths else 0.0
        return _Thumbnail(rendered.rgb, depth, float(rendered.accumulation.mean()), _sharpness(rendered.rgb), unseen)


def _about_the_field(
    thumbs: Sequence[_Thumbnail], at_photos: dict[str, _Thumbnail], photos: dict[str, Picture]
) -> list[str]:
    warnings, ratios = [], []
    for name, rendered in at_photos.items():
        height, width = rendered.rgb.shape[:2]
        photo = cv2.resize(photos[name], (width, height), interpolation=cv2.INTER_AREA)
        ratios.append(rendered.sharpness / max(1e-3, _sharpness(photo)))
    if np.median(ratios) < _LEAST_SHARP:
        warnings.append(f"the model is much blurrier than the photos ({np.median(ratios):.0%}); train longer")
    pictures = [thumb.rgb.astype(np.float32) for thumb in thumbs]
    contrast = min(float(p.std()) for p in pictures)
    if contrast < _LEAST_CONTRAST:
        warnings.append(
            f"some frames are nearly one colour (contrast {contrast:.1f} of 255); train longer or check the poses"
        )
    if max(float(np.abs(a - b).mean()) for a, b in pairwise(pictures)) < _LEAST_MOTION:
        warnings.append("the frames hardly differ: the photos were taken from nearly the same place")
    return warnings


def _sharpness(rgb: Picture) -> float:
    """Mean strength of the Laplacian."""
    return float(np.abs(cv2.Laplacian(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32), cv2.CV_32F)).mean())


def _sheet(pictures: Sequence[Picture]) -> Picture:
    rows = [np.concatenate(list(pictures[i : i + 3]), axis=1) for i in range(0, len(pictures), 3)]
    return np.concatenate(rows, axis=0)
