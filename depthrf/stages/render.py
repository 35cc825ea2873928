"""render: a camera path through the scene, its frames and the video."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from depthrf import console, device
from depthrf.options import identity, option
from depthrf.workspace import Workspace, fingerprints, fresh_dir, read_json, write_json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from depthrf.geometry.camera import View
    from depthrf.io.trained_field import TrainedField

REQUIRES = ("sfm", "train")


@dataclass(frozen=True)
class Options:
    path: str = option("tour", "camera path of the video", choices=("tour", "orbit"))
    seconds: float = option(6.0, "length of the video", least=0.1)
    fps: int = option(24, "frames per second", least=1)
    max_side: int = option(960, "longer side of the video in pixels", least=16)
    depth_video: bool = option(False, "also render a video of the depth, depth.mp4")
    device: str = option("auto", "where to compute", choices=device.CHOICES, identity=False)


@dataclass(frozen=True)
class Summary:
    video: str
    num_frames: int
    seconds: float
    width: int
    height: int
    depth_video: str | None
    device: str


def inputs(workspace: Workspace, options: Options) -> list[Path]:
    return [workspace.checkpoint, workspace.transforms]


def outputs(workspace: Workspace, options: Options) -> list[Path]:
    videos = [workspace.video, workspace.depth_video] if options.depth_video else [workspace.video]
    return [workspace.render / "path.json", *videos]


def run(workspace: Workspace, options: Options) -> Summary:
    """Renders the frames that are not there yet and encodes them.

    Raises:
        DepthrfError: The encoder does not work here; said before the first frame is rendered.
    """
    from depthrf.io.images import read_rgb
    from depthrf.io.trained_field import load_field
    from depthrf.io.video import check_encoder, write_video

    check_encoder()
    start = time.monotonic()
    target = device.resolve(options.device)
    views = plan_path(workspace, options)
    camera = views[0].camera
    frames = _frames_dir(workspace, options, views)
    field = load_field(workspace.checkpoint, target)
    console.note(f"  {options.path}: {len(views)} frames at {camera.width}x{camera.height} on {target}")
    _render_frames(field, views, frames)

    def read(kind: str) -> Iterator[NDArray[np.uint8]]:
        return (read_rgb(frames / f"{kind}_{index:05d}.png") for index in range(len(views)))

    _warn_if_dull(frames, len(views))
    write_video(workspace.video, read("rgb"), fps=options.fps, size=(camera.width, camera.height))
    if options.depth_video:
        write_video(workspace.depth_video, read("depth"), fps=options.fps, size=(camera.width, camera.height))
    return Summary(
        video=str(workspace.video),
        num_frames=len(views),
        seconds=round(time.monotonic() - start, 2),
        width=camera.width,
        height=camera.height,
        depth_video=str(workspace.depth_video) if options.depth_video else None,
        device=str(target),
    )


def plan_path(workspace: Workspace, options: Options) -> list[View]:
    """The views of the video, in scene coordinates, with the camera of most photos at an even size."""
    from collections import Counter

    from depthrf.geometry.camera import View
    from depthrf.geometry.trajectory import find_path
    from depthrf.io.transforms_json import load_views
    from depthrf.io.video import even_size

    photos, _ = load_views(workspace.transforms)
    (width, height), _ = Counter((v.camera.width, v.camera.height) for v in photos).most_common(1)[0]
    camera = next(v.camera for v in photos if (v.camera.width, v.camera.height) == (width, height))
    camera = camera.fitted(options.max_side)
    camera = camera.resized(*even_size(max(2, camera.width), max(2, camera.height)))
    num_frames = max(2, round(options.seconds * options.fps))
    poses = find_path(options.path)(photos, num_frames)
    return [View(f"{index:05d}", camera, pose) for index, pose in enumerate(poses)]


def _frames_dir(workspace: Workspace, options: Options, views: list[View]) -> Path:
    """The folder of frames, emptied unless what is there was rendered from the same field along the same path."""
    import numpy as np

    frames = workspace.render / "frames"
    poses = [v.cam_from_world for v in views]
    plan = {
        "options": identity(options),
        "inputs": fingerprints(workspace, inputs(workspace, options)),
        "fps": options.fps,
        "camera": views[0].camera,
        "cam_from_world": poses,
    }
    path = workspace.render / "path.json"
    found = read_json(path) if path.exists() and frames.is_dir() else {}
    same = found.get("inputs") == plan["inputs"] and found.get("camera") == asdict(views[0].camera)
    if not (same and np.array_equal(found["cam_from_world"], poses)):
        fresh_dir(frames)
        for video in (workspace.video, workspace.depth_video):
            video.unlink(missing_ok=True)
    write_json(path, plan)
    return frames


def _render_frames(field: TrainedField, views: list[View], frames: Path) -> None:
    from depthrf.io.images import write_png
    from depthrf.nerf.normalise import normalise_view
    from depthrf.nerf.views import render_view

    for view in console.track(views, "render"):
        done = frames / f"rgb_{view.name}.png"
        if done.exists():
            continue
        rendered = render_view(field.model, normalise_view(view, field.normalised_from_scene), field.bounds)
        write_png(frames / f"depth_{view.name}.png", field.depth_colours.paint(rendered.depth))
        write_png(done, rendered.rgb)


def _warn_if_dull(frames: Path, count: int) -> None:
    """Says so when the frames are nearly one colour or do not move, which no scene worth a video does."""
    import numpy as np

    from depthrf.io.images import read_rgb

    probes = sorted({round(i * (count - 1) / 7) for i in range(8)})
    images = [read_rgb(frames / f"rgb_{index:05d}.png").astype(np.float32) for index in probes]
    contrast = min(float(image.std()) for image in images)
    motion = max(float(np.abs(a - b).mean()) for a, b in itertools.pairwise(images))
    if contrast < 4.0:
        console.warn(
            f"some frames are nearly one colour (contrast {contrast:.1f} of 255); train longer or check the poses"
        )
    if motion < 0.5:
        console.warn("the frames hardly differ: the photos were taken from nearly the same place")
