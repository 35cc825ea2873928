"""Pictures side by side under captions, and errors as colours: what evaluation and benchmarks show."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

FULL_ERROR = 0.25  # mean error of the channels, of 1, that is drawn brightest
_CAPTION = 18  # height in pixels


def colorise_error(rendered: Image, photo: Image) -> Image:
    """Mean absolute error of the channels (H, W, 3) as colours: black 0, brightest from ``FULL_ERROR`` on."""
    import cv2

    error = np.abs(rendered.astype(np.float32) - photo.astype(np.float32)).mean(-1) / 255.0
    level = (np.minimum(error / FULL_ERROR, 1.0) * 255.0).round().astype(np.uint8)
    return np.ascontiguousarray(cv2.applyColorMap(level, cv2.COLORMAP_INFERNO)[..., ::-1])


def labelled_row(panels: Sequence[tuple[str, Image]]) -> Image:
    """Images (H, W, 3) of one height side by side, each under its caption."""
    import cv2

    columns = []
    for caption, image in panels:
        strip = np.full((_CAPTION, image.shape[1], 3), 255, dtype=np.uint8)
        cv2.putText(strip, caption, (4, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (40, 40, 40), 1, cv2.LINE_AA)
        columns.append(np.concatenate([strip, image]))
    return np.concatenate(columns, axis=1)
