"""Options of the sfm stage."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from depthrf.device import CHOICES as DEVICES
from depthrf.options import option


@dataclass(frozen=True)
class Options:
    poses: Path | None = option(
        None, "known poses: a transforms.json, a COLMAP model, or an export with poses; SfM then only triangulates"
    )
    max_image_size: int = option(
        1600, "photos with a longer side, in pixels, are reduced to find keypoints", least=64, most=20000
    )
    min_share: float = option(
        0.5, "stop if a smaller share of the photos can be placed (or fewer than 3)", least=0, most=1
    )
    focal_px: float | None = option(
        None, "focal length of all photos in pixels, not refined; replaces that of given poses, too", least=1, most=1e7
    )
    fov: float | None = option(
        None, "horizontal field of view of all upright photos in degrees, not refined", least=1, most=170
    )
    focal: str = option(
        "auto",
        "auto: EXIF's focal length unless a refined one fits better; fixed: EXIF's; free: a refined one",
        choices=("auto", "fixed", "free"),
    )
    refine_intrinsics: bool = option(False, "with given poses: adjust focal length and distortion to the photos")
    refine_poses: str = option(
        "auto",
        "with given poses: adjust them to the photos if that fits better; auto: only those that a device tracked",
        choices=("auto", "yes", "no"),
    )
    device: str = option("auto", "where to run the networks that match photos", choices=DEVICES, identity=False)
    offline: bool = option(
        False, "download nothing (as DEPTHRF_OFFLINE=1); without the networks, match by SIFT alone", identity=False
    )
    seed: int = option(
        0, "random seed; the same seed gives the same result on the same machine", least=0, most=2**31 - 1
    )
    threads: int = option(0, "CPU threads; 0 uses all", least=0, most=1024, identity=False)
