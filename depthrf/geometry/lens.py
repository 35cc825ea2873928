"""Intrinsics of photos before undistortion, in COLMAP's terms (https://colmap.github.io/cameras.html)."""

from __future__ import annotations

from dataclasses import dataclass

from depthrf.geometry.camera import Camera

# COLMAP's camera models: id -> (name, number of parameters). Its panoramas (17, EQUIRECTANGULAR) have no pinhole view.
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
    12: ("SIMPLE_DIVISION", 4),
    13: ("DIVISION", 5),
    14: ("SIMPLE_FISHEYE", 3),
    15: ("FISHEYE", 4),
    16: ("EUCM", 6),
}
_ONE_FOCAL = {
    "SIMPLE_PINHOLE",
    "SIMPLE_RADIAL",
    "RADIAL",
    "SIMPLE_RADIAL_FISHEYE",
    "RADIAL_FISHEYE",
    "SIMPLE_DIVISION",
    "SIMPLE_FISHEYE",
}


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
    def fx(self) -> float:
        """Horizontal focal length, pixels."""
        return self.params[0]

    @property
    def fy(self) -> float:
        """Vertical focal length, pixels; equal to ``fx`` in models with one focal length."""
        return self.params[self.num_focals - 1]

    @property
    def cx(self) -> float:
        """Horizontal position of the principal point, pixels."""
        return self.params[self.num_focals]

    @property
    def cy(self) -> float:
        """Vertical position of the principal point, pixels."""
        return self.params[self.num_focals + 1]

    @property
    def focal(self) -> float:
        """Mean focal length, pixels."""
        return 0.5 * (self.fx + self.fy)

    @property
    def distortion(self) -> tuple[float, ...]:
        """The parameters after the principal point, in the model's order."""
        return self.params[self.num_focals + 2 :]

    @property
    def pinhole(self) -> Camera:
        """Focal lengths and principal point alone, without the distortion."""
        return Camera(self.width, self.height, self.fx, self.fy, self.cx, self.cy)

    @property
    def is_fisheye(self) -> bool:
        """Whether the model bends straight lines even where all its distortion parameters are 0."""
        return self.model.endswith("FISHEYE")

    @property
    def is_undistorted(self) -> bool:
        """Whether the photo is that of a pinhole camera, whatever the model's name."""
        if self.model == "EUCM":
            return self.distortion[0] == 0.0  # without alpha, beta plays no part
        return not self.is_fisheye and not any(self.distortion)

    def resized(self, width: int, height: int) -> Lens:
        """The lens of the same photo resized to ``width`` x ``height`` pixels."""
        sx, sy = width / self.width, height / self.height
        focals = (self.fx * 0.5 * (sx + sy),) if self.num_focals == 1 else (self.fx * sx, self.fy * sy)
        return Lens(self.model, width, height, (*focals, self.cx * sx, self.cy * sy, *self.distortion))

    def with_focal(self, focal: float) -> Lens:
        """The same lens with another mean focal length, pixels."""
        factor = focal / self.focal
        focals = [f * factor for f in self.params[: self.num_focals]]
        return Lens(self.model, self.width, self.height, (*focals, *self.params[self.num_focals :]))
