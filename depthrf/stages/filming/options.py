"""Options of the render stage. Imports nothing heavy: the command line reads them."""

from __future__ import annotations

from dataclasses import dataclass

from depthrf import device
from depthrf.options import option

PATHS = ("tour", "orbit", "spiral", "sphere", "dolly", "still")  # those of geometry.paths.registry
CODECS = {"h264": ".mp4", "h265": ".mp4", "prores": ".mov", "vp9": ".webm"}  # those of io.encoding, with their endings


FRAME_BYTES = 60
"""Memory that a pixel of the frame takes that is being rendered."""


@dataclass(frozen=True)
class Options:
    path: str = option("tour", "camera path, or a file (depthrf, nerfstudio, COLMAP)", choices=PATHS, or_file=True)
    seconds: float = option(6.0, "length of the film; a path file with times has its own", least=0.1, most=3600)
    fps: int = option(24, "frames per second", least=1, most=240)
    max_side: int = option(960, "longer side of the film in pixels, at most that of the photos", least=16, most=8192)
    speed: float = option(1.0, "factor of the camera's speed; the film gets as much shorter", least=0.01, most=100)
    ease: float = option(0.7, "seconds of soft start and stop; 0: constant speed", least=0.0, most=60.0)
    loop: bool = option(False, "end where the film begins")
    reverse: bool = option(False, "go the path backwards")
    roll: bool = option(False, "keep the photos' roll, else the horizon is level")
    fov: tuple[float, ...] = option((), "vertical field of view in degrees, or FROM,TO", least=1.0, most=170.0)
    allow_untrusted: bool = option(False, "render a path that shows what no photo saw or runs into surfaces")
    show_trust: bool = option(False, "make grey and hatched what no photo saw")
    side_by_side: bool = option(False, "also a film of colour beside depth, side_by_side")
    depth_video: bool = option(False, "also a film of the depth with its scale, depth")
    normals_video: bool = option(False, "also a film of the surfaces' directions, normals")
    codec: str = option("h264", "how the films are encoded", choices=tuple(CODECS))
    crf: int = option(17, "quality of the films, less is better and larger; not for prores", least=0, most=45)
    device: str = option("auto", "where to compute", choices=device.CHOICES, identity=False)
