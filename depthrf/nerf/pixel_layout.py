"""Where the pixels of several photos lie in arrays that hold all of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from depthrf.geometry.camera import View


@dataclass(frozen=True)
class PixelLayout:
    """P photos in arrays (N, ...): one photo after the other, row by row.

    first, end (P,) int64: a photo's first pixel and the one after its last. width, height (P,) int64.
    """

    first: Tensor
    end: Tensor
    width: Tensor
    height: Tensor

    @classmethod
    def of(cls, views: list[View], device: torch.device) -> PixelLayout:
        """That of the photos of ``views``, in their order."""
        sizes = np.array([[v.camera.width, v.camera.height] for v in views])
        ends = np.cumsum(sizes.prod(-1))
        return cls(*(torch.tensor(a, device=device) for a in (ends - sizes.prod(-1), ends, *sizes.T)))

    def photos(self, pixel: Tensor) -> Tensor:
        """The photo of each pixel (R,)."""
        return torch.searchsorted(self.end, pixel, right=True)

    def centres(self, pixel: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The photo of each pixel (R,), and x and y of the pixel's centre in it."""
        photo = self.photos(pixel)
        local, width = pixel - self.first[photo], self.width[photo]
        return photo, (local % width).float() + 0.5, (local // width).float() + 0.5

    def containing(self, photo: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """The pixel of each photo that contains the place x, y, and whether there is one; their shapes broadcast.

        Where there is none, the photo's first pixel stands in for it.
        """
        inside = (x >= 0) & (x < self.width[photo]) & (y >= 0) & (y < self.height[photo])
        column, row = (torch.where(inside, v, 0.0).long() for v in (x, y))
        return self.first[photo] + row * self.width[photo] + column, inside

    def pictures(self, values: Tensor) -> list[Tensor]:
        """Values of all pixels (N, ...) as one (H, W, ...) per photo."""
        sizes = zip(*(t.tolist() for t in (self.first, self.end, self.width)), strict=True)
        return [values[first:end].reshape(-1, width, *values.shape[1:]) for first, end, width in sizes]
