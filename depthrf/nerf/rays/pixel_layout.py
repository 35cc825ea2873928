"""How the pixels of several photos are laid out in flat arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from depthrf.geometry.camera import View


@dataclass(frozen=True)
class PixelLayout:
    """Arrays (N, ...) that hold the pixels of P photos, one photo after the other, row by row.

    first, end (P,) int64: index of a photo's first pixel, and one past its last. width, height (P,) int64.
    """

    first: Tensor
    end: Tensor
    width: Tensor
    height: Tensor

    @classmethod
    def of(cls, views: list[View], device: torch.device) -> PixelLayout:
        """The layout of the photos of ``views``, in that order."""
        width = torch.tensor([v.camera.width for v in views], device=device)
        height = torch.tensor([v.camera.height for v in views], device=device)
        end = torch.cumsum(width * height, dim=0)
        return cls(end - width * height, end, width, height)

    def photos(self, pixel: Tensor) -> Tensor:
        """The photo of each pixel (R,)."""
        return torch.searchsorted(self.end, pixel, right=True)

    def centres(self, pixel: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """For each pixel (R,): its photo, and x and y of its centre in that photo."""
        photo = self.photos(pixel)
        local, width = pixel - self.first[photo], self.width[photo]
        return photo, (local % width).float() + 0.5, (local // width).float() + 0.5

    def containing(self, photo: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """The pixel of ``photo`` that contains the position x, y, and whether there is one. Shapes broadcast.

        Outside the photo the index is that of its first pixel.
        """
        inside = (x >= 0) & (x < self.width[photo]) & (y >= 0) & (y < self.height[photo])
        column = torch.where(inside, x, 0.0).long()
        row = torch.where(inside, y, 0.0).long()
        return self.first[photo] + row * self.width[photo] + column, inside

    def pictures(self, values: Tensor) -> list[Tensor]:
        """Splits values of all pixels (N, ...) into one (H, W, ...) per photo."""
        flat = torch.split(values, (self.end - self.first).tolist())
        return [
            part.reshape(-1, width, *values.shape[1:]) for part, width in zip(flat, self.width.tolist(), strict=True)
        ]

    def by_photo(self, function: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
        """Applies ``function``, from (H, W, ...) to (H, W), to each photo's part of the values (N, ...); (N,)."""
        return torch.cat([function(picture).flatten() for picture in self.pictures(values)])
