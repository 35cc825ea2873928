"""render: a camera path through the scene that the photos bear out, its frames and the film."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from depthrf import console, device
from depthrf.errors import DepthrfError
from depthrf.stages.filming.options import CODECS, FRAME_BYTES, PATHS
from depthrf.stages.filming.options import Options as Options
from depthrf.storage import write_json
from depthrf.workspace import Workspace, fingerprints

if TYPE_CHECKING:
    from depthrf.geometry.camera import View
    from depthrf.geometry.visibility import SeenDepth
    from depthrf.io.draw.overlays import ColourScale, Picture
    from depthrf.io.trained_field import TrainedField
    from depthrf.stages.filming.plan import Film

HELP = "renders a camera path to a film; only what the photos saw, unless --allow-untrusted."
REQUIRES = ("sfm", "train")


@dataclass(frozen=True)
class Summary:
    video: str
    num_frames: int
    seconds: float
    width: int
    height: int
    fps: float
    path: str
    depth_video: str | None
    unseen: float | None
    device: str


def inputs(workspace: Workspace, options: Options) -> list[Path]:
    files = [workspace.checkpoint, workspace.transforms, workspace.prior_depth]
    files += (
        [workspace.scale] if {"depth", "side_by_side"} & {*_videos(workspace, options)} else []
    )  # their legend's unit
    return files if options.path in PATHS else [*files, Path(options.path)]


def outputs(workspace: Workspace, options: Options) -> list[Path]:
    beside = [workspace.render / name for name in ("path.json", "poster.jpg", "preview.webp", "preview.gif")]
    return [*beside, *_videos(workspace, options).values()]


def video_path(workspace: Workspace, options: Options) -> Path:
    """The film; its ending is the codec's."""
    return workspace.video.with_suffix(CODECS[options.codec])


def _videos(workspace: Workspace, options: Options) -> dict[str, Path]:
    """The films by what they show."""
    film = video_path(workspace, options)
    extra = {"side_by_side": options.side_by_side, "depth": options.depth_video, "normals": options.normals_video}
    return {"film": film} | {name: film.with_stem(name) for name, wanted in extra.items() if wanted}


def run(workspace: Workspace, options: Options) -> Summary:
    """Plans the path, looks at six thumbnails, renders the frames that are not there yet and encodes them.

    Raises:
        UsageError: The file of a path is not one.
        DepthrfError: The path cannot be trusted, or the encoder does not work here; said before the first frame.
    """
    from depthrf.io.encoding import check_encoder
    from depthrf.io.photos.images import write_png
    from depthrf.io.trained_field import load_field
    from depthrf.stages.filming.frames import frames_folder, render_frames

    check_encoder(options.codec)
    start = time.monotonic()
    target = device.resolve(options.device)
    field = load_field(workspace.checkpoint, target)
    film, colours, sheet, depths = _approved(workspace, options, field)
    camera, views = film.camera, film.views
    wanted = {"depth": True, "normals": options.normals_video, "trust": options.show_trust and bool(depths)}
    source = {
        "inputs": fingerprints(workspace, [workspace.checkpoint, workspace.prior_depth]),
        "film": film.digest(),
    }
    frames = frames_folder(workspace.render / "frames", source)
    write_json(workspace.render / "path.json", film.content())
    write_png(workspace.render / "preflight.png", sheet)
    console.note(f"  {film.kind}: {len(views)} frames at {camera.width}x{camera.height} on {target}")
    render_frames(field, views, frames, kinds=[k for k in wanted if wanted[k]], colours=colours, depths=depths)
    _encode(workspace, options, film, frames, colours)
    shares = [] if film.judgement is None else film.judgement.shares
    return Summary(
        video=str(video_path(workspace, options)),
        num_frames=len(views),
        seconds=round(time.monotonic() - start, 2),
        width=camera.width,
        height=camera.height,
        fps=film.fps,
        path=film.kind,
        depth_video=str(_videos(workspace, options)["depth"]) if options.depth_video else None,
        unseen=round(sum(s.none for s in shares) / len(shares), 4) if shares else None,
        device=str(target),
    )


def plan(workspace: Workspace, options: Options) -> Film:
    """The film that the photos bear out, without a look at its pictures.

    Raises:
        UsageError: The file of a path is not one.
        DepthrfError: The path cannot be trusted.
    """
    import torch

    from depthrf.io.poses.transforms_json import load_views
    from depthrf.io.trained_field import load_field
    from depthrf.stages.filming.plan import films
    from depthrf.stages.filming.trust import load_trust

    field = load_field(workspace.checkpoint, torch.device("cpu"))
    photos, _ = load_views(workspace.transforms)
    trust, depths = load_trust(workspace, photos, field.normalised_from_scene, field.bounds)
    return next(films(options, photos, trust, depths))


def _approved(
    workspace: Workspace, options: Options, field: TrainedField
) -> tuple[Film, ColourScale, Picture, list[SeenDepth]]:
    """The first film that can be trusted and whose thumbnails look right, with its depth's colours and them."""
    from depthrf.io.poses.transforms_json import load_views
    from depthrf.stages.filming.plan import films
    from depthrf.stages.filming.preflight import preflight
    from depthrf.stages.filming.trust import load_trust

    photos, _ = load_views(workspace.transforms)
    trust, depths = load_trust(workspace, photos, field.normalised_from_scene, field.bounds)
    if trust is None:
        console.warn("no photo has a depth prior, so nothing says which parts of the film the photos saw")
    problems: list[str] = []
    for film in films(options, photos, trust, depths):
        _check_memory(film, options)
        _say_size(options, photos, field, film)
        found = preflight(field, film.views, photos, workspace.undistorted_images, depths)
        if not found.problems or options.allow_untrusted:
            for warning in (*found.problems, *found.warnings):
                console.warn(warning)
            return film, found.colours, found.sheet, depths
        problems = found.problems
        console.note(f"  {film.kind} of width {film.reach:g}: {'; '.join(problems)}")
        if trust is None:
            break
    raise DepthrfError(
        f"No {options.path} is worth rendering: {'; '.join(problems)}. Train longer, try another --path, or render it "
        "nevertheless with --allow-untrusted."
    )


def _check_memory(film: Film, options: Options) -> None:
    width, height = film.camera.width, film.camera.height
    advice = f"Make a smaller film: --set render.max_side={options.max_side // 2}"
    device.require_memory(FRAME_BYTES * width * height, f"Rendering {width}x{height}", advice)


def _say_size(options: Options, photos: Sequence[View], field: TrainedField, film: Film) -> None:
    side = max(film.camera.width, film.camera.height)
    if side < options.max_side - 1 and side >= max(max(p.camera.width, p.camera.height) for p in photos) - 1:
        console.note(f"  {side} pixels wide and no more: that is all the detail that the photos have")
    elif side > 1.5 * field.max_side:
        console.note(f"  trained on photos of {field.max_side} pixels: finer detail than theirs is not in the model")


def _encode(workspace: Workspace, options: Options, film: Film, frames: Path, colours: ColourScale) -> None:
    from functools import partial

    from depthrf.io.depth.scale import metres_per_unit
    from depthrf.io.encoding import Encoding, write_video
    from depthrf.stages.filming import files
    from depthrf.stages.filming.pictures import with_scale

    videos, count = _videos(workspace, options), len(film.path)
    shown = "trust" if options.show_trust and film.judgement is not None else "rgb"
    encoding = Encoding(options.codec, options.crf, files.metadata(workspace.root.name))
    shares = [0.0] * count if film.judgement is None else [s.two for s in film.judgement.shares]
    files.write_film(
        videos["film"],
        partial(files.pictures, frames, shown, count),
        film.fps,
        encoding,
        poster_frame=files.best_frame(shares),
    )
    metres, size = metres_per_unit(workspace), (film.camera.width, film.camera.height)

    def depth() -> Iterator[Picture]:
        return (with_scale(picture, colours, metres) for picture in files.pictures(frames, "depth", count))

    if "side_by_side" in videos:
        pairs = files.beside(files.pictures(frames, shown, count), depth())
        write_video(videos["side_by_side"], pairs, film.fps, (2 * size[0], size[1]), encoding)
    if "depth" in videos:
        write_video(videos["depth"], depth(), film.fps, size, encoding)
    if "normals" in videos:
        write_video(videos["normals"], files.pictures(frames, "normals", count), film.fps, size, encoding)
