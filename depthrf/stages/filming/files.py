"""The files of a finished film: videos, poster and animated previews."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from depthrf import __version__
from depthrf.errors import UsageError
from depthrf.io.draw.overlays import Picture
from depthrf.io.encoding import Encoding, write_gif, write_video, write_webp
from depthrf.io.photos.images import read_rgb
from depthrf.storage import atomic_path, read_json

_PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff"}


def metadata(title: str) -> dict[str, str]:
    """Title, and the version and command that made a film."""
    import shlex

    command = shlex.join(["depthrf", *sys.argv[1:]])
    return {"title": title, "comment": f"depthrf {__version__}: {command}"}


def pictures(frames: Path, kind: str, count: int) -> Iterator[Picture]:
    """The frames ``<kind>_<number>.png`` in order."""
    return (read_rgb(frames / f"{kind}_{index:05d}.png") for index in range(count))


def write_film(
    path: Path, frames: Callable[[], Iterator[Picture]], fps: float, encoding: Encoding, *, poster_frame: int
) -> None:
    """Writes the video and, beside it, ``poster.jpg``, ``preview.webp`` and ``preview.gif``.

    Args:
        path: The video; its ending is the codec's.
        frames: Gives all frames, of one size, from the first.
        fps: Frames per second.
        encoding: Codec, quality and metadata.
        poster_frame: Number of the frame that stands for the film.
    """
    first = next(frames())
    write_video(path, frames(), fps, (first.shape[1], first.shape[0]), encoding)
    poster = next(picture for index, picture in enumerate(frames()) if index == poster_frame)
    _write_jpeg(path.with_name("poster.jpg"), poster)
    write_webp(path.with_name("preview.webp"), path)
    write_gif(path.with_name("preview.gif"), path)


def from_frames(folder: Path, video: Path, fps: float | None, encoding: Encoding) -> int:
    """Makes a film of finished frames: ``rgb_*.png`` as render leaves them, else all pictures by name.

    Args:
        folder: Where the frames are.
        video: What to write; poster and previews go beside it.
        fps: Frames per second; None: those of the ``path.json`` beside the folder, else 24.
        encoding: Codec, quality and metadata.

    Returns:
        The number of frames.

    Raises:
        UsageError: There are no frames, or they differ in size.
    """
    if not folder.is_dir():
        raise UsageError(f"No such folder: {folder}")
    files = sorted(folder.glob("rgb_*.png")) or sorted(p for p in folder.iterdir() if p.suffix.lower() in _PICTURES)
    if not files:
        raise UsageError(f"{folder} has no frames: expected rgb_00000.png and so on, or any pictures.")
    if fps is None:
        plan = folder.parent / "path.json"
        fps = float(read_json(plan).get("fps", 24.0)) if plan.is_file() else 24.0
    size = read_rgb(files[0]).shape

    def frames() -> Iterator[Picture]:
        for file in files:
            picture = read_rgb(file)
            if picture.shape != size:
                raise UsageError(
                    f"{file} is {picture.shape[1]}x{picture.shape[0]}, {files[0].name} {size[1]}x{size[0]}; all frames "
                    "of a film should be of one size."
                )
            yield picture

    write_film(video, frames, fps, encoding, poster_frame=len(files) // 2)
    return len(files)


def beside(left: Iterator[Picture], right: Iterator[Picture]) -> Iterator[Picture]:
    """Pairs of frames side by side."""
    return (np.concatenate(pair, axis=1) for pair in zip(left, right, strict=True))


def best_frame(shares: Sequence[float]) -> int:
    """The middlemost among the frames whose share is within a hundredth of the best."""
    good = np.flatnonzero(np.array(shares) >= max(shares) - 0.01)
    return int(good[np.argmin(np.abs(good - (len(shares) - 1) / 2))])


def _write_jpeg(path: Path, picture: Picture) -> None:
    from PIL import Image

    with atomic_path(path) as temporary:
        Image.fromarray(picture).save(temporary, quality=92, subsampling=0)
