"""Options of the ingest stage."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from depthrf.options import option
from depthrf.stages.ingesting.holdout import HOLDOUT_FORMS

MOST_OF_EXPORT = 60
"""Photos of an export that train by default: devices record many a second."""


@dataclass(frozen=True)
class Options:
    photos: Path | None = option(None, "folder of photos, or a video; default: those the workspace was made for")
    sensor_depth: Path | None = option(
        None, "folder of sensor depth maps named like the photos: 16-bit PNG (millimetres), npy or EXR (metres)"
    )
    depth_unit: float = option(0.001, "metres per count of integer depth maps", least=1e-9, most=1000)
    depth_camera: Path | None = option(
        None, "intrinsics of the depth camera, where its field of view differs from the photos'"
    )
    export_poses: bool = option(True, "use the poses that an export brings with its photos")
    allow_outside: bool = option(False, "use files that a data set names outside its own folder")
    max_photos: int | None = option(
        None,
        f"train on at most this many photos, at equal steps; default: {MOST_OF_EXPORT} of an export, all of a folder",
        least=1,
        most=100000,
    )
    masks: Path | None = option(
        None, "folder of masks <photo>.png, black = ignored; default: those of the export, or `masks` beside the photos"
    )
    model: int | None = option(
        None,
        "number of the model to use, of a COLMAP project with several; default: the largest",
        least=0,
        most=1000000,
    )
    panorama: str = option(
        "refuse",
        "360° panoramas among the photos: refuse stops, cut makes eight views of each",
        choices=("refuse", "cut"),
    )
    frames: int = option(40, "take at most this many frames of a video", least=1, most=10000)
    holdout: str | None = option(None, f"photos that only `evaluate` sees: {HOLDOUT_FORMS}", file_ending=".txt")
