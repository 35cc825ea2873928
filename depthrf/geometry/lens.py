"""Intrinsics of photos before undistortion, in COLMAP's terms (https://colmap.github.io/cameras.html)."""

from __future__ import annotations

from dataclasses import dataclass

# COLMAP's camera models: id -> (name, number of parameters).
LENS_MODELS = {
    0: ("SIMPLE_PINHOLE", 3),
    1: ("PINHOLE", 4),
    2: ("SIMPLE_RADIAL", 4),
    3: ("RADIAL", 5),
    4: ("OPENCV", 8),
    5: ("OPENCV_FISHEYE", 8),
    6: ("FULL_OPENCV", 12),
    7: ("FOV", 5),
    8: ("SIMPLE_RADIAL_FISHEYE", 4),
    9: ("RADIAL_FISHEYE", 5),
    10: ("THIN_PRISM_FISHEYE", 12),
    11: ("RAD_TAN_THIN_PRISM_FISHEYE", 16),
}
_ONE_FOCAL = {"SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE"}


@dataclass(frozen=True)
class Lens:
    """A camera of any COLMAP model; ``params`` in the model's order: focal lengths and centre in pixels, distortion."""

    model: str
    width: int
    height: int
    params: tuple[float, ...]

    @property
    def num_focals(self) -> int:
        """How many of the first parameters are focal lengths; the principal point follows."""
        return 1 if self.model in _ONE_FOCAL else 2

    @property
    def focal(self) -> float:
        """Mean focal length, pixels."""
        return sum(self.params[: self.num_focals]) / self.num_focals

    @property
    def distortion(self) -> tuple[float, ...]:
        return self.params[self.num_focals + 2 :]

    def resized(self, width: int, height: int) -> Lens:
        """The lens of the same photo resized to ``width`` x ``height`` pixels."""
        sx, sy = width / self.width, height / self.height
        factors = (0.5 * (sx + sy),) if self.num_focals == 1 else (sx, sy)
        scaled = (p * s for p, s in zip(self.params, (*factors, sx, sy), strict=False))
        return Lens(self.model, width, height, (*scaled, *self.distortion))

    def with_focal(self, focal: float) -> Lens:
        """The same lens with another mean focal length, pixels."""
        factor = focal / self.focal
        focals = tuple(f * factor for f in self.params[: self.num_focals])
        return Lens(self.model, self.width, self.height, (*focals, *self.params[self.num_focals :]))
