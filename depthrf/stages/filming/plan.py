"""Plans a film: the path asked for, as wide as can be trusted, cut into frames."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from depthrf import console
from depthrf.errors import DepthrfError
from depthrf.geometry.camera import Array, Camera, View
from depthrf.geometry.paths.focus import Subject, subject_of
from depthrf.geometry.paths.keyframes import through_frames, through_keyframes
from depthrf.geometry.paths.registry import KINDS
from depthrf.geometry.paths.route import Route, length_unit
from depthrf.geometry.paths.timing import CameraPath, Timing, frames_of
from depthrf.io.camera_paths import own
from depthrf.io.camera_paths.path_file import FilmPlan, PathFile, fov_of
from depthrf.io.camera_paths.registry import read_path_file
from depthrf.stages.filming.cameras import film_camera, with_fov
from depthrf.stages.filming.trust import GOOD_UNSEEN, MOST_UNSEEN, Judgement, Trust

if TYPE_CHECKING:
    from depthrf.geometry.visibility import SeenDepth
    from depthrf.stages.filming.options import Options

_REACHES = {
    "tour": (1.0, 0.5, 0.25, 0.0),
    "orbit": (1.5, 1.25, 1.0, 0.8, 0.6, 0.4, 0.25),
    "spiral": (1.5, 1.0, 0.7, 0.5, 0.3),
    "sphere": (1.0, 0.75, 0.5, 0.35, 0.25, 0.15, 0.1),
    "dolly": (1.5, 1.25, 1.0, 0.75, 0.5, 0.3),
    "still": (1.0,),
}
"""How wide a path of each kind is tried, the preferred first."""
_LAST_RESORT = ("spiral", (0.3, 0.1), MOST_UNSEEN)
_GLANCES = 24  # frames that are judged before all of them are


@dataclass(frozen=True)
class Film:
    """A planned film. kind: a key of ``KINDS`` or ``keyframes``. camera: the photos', at the film's size. judgement: of
    every frame; None where no photo has depth to judge by."""

    kind: str
    reach: float
    path: CameraPath
    camera: Camera
    fps: float
    loop: bool
    judgement: Judgement | None

    @property
    def views(self) -> list[View]:
        """One view a frame, in scene coordinates, named by its number."""
        fov = self.path.fov
        cameras = [self.camera if fov is None else with_fov(self.camera, float(f)) for f in self.fovs]
        poses = self.path.cam_from_world
        return [View(f"{i:05d}", c, pose) for i, (c, pose) in enumerate(zip(cameras, poses, strict=True))]

    @property
    def fovs(self) -> Array:
        """Vertical field of view of every frame, degrees, (N,)."""
        if self.path.fov is not None:
            return self.path.fov
        return np.full(len(self.path), fov_of(self.camera.fy, self.camera.height))

    @property
    def plan(self) -> FilmPlan:
        """What path files hold."""
        trust = []
        if self.judgement is not None:
            rows = zip(self.judgement.shares, self.judgement.clearance, strict=True)
            trust = [
                {**{k: round(v, 4) for k, v in asdict(share).items()}, "clearance": round(float(clear), 4)}
                for share, clear in rows
            ]
        size = (self.camera.width, self.camera.height)
        return FilmPlan(self.path.cam_from_world, self.fovs, size, self.fps, self.loop, trust)

    def content(self) -> dict[str, Any]:
        """What ``render/path.json`` holds: the same for equal films, whatever field they are rendered from."""
        head = {"kind": self.kind, "reach": self.reach, "camera": asdict(self.camera)}
        content = own.content_of(self.plan)
        return {"format": content.pop("format"), **head, **content}

    def digest(self) -> str:
        """A name for everything that the frames' pictures depend on but the field."""
        digest = hashlib.sha256(self.path.cam_from_world.tobytes() + self.fovs.tobytes())
        digest.update(repr(self.camera).encode())
        return digest.hexdigest()


def films(
    options: Options, photos: Sequence[View], trust: Trust | None, depths: Sequence[SeenDepth] = ()
) -> Iterator[Film]:
    """Films of the path asked for that can be trusted, the preferred first.

    Args:
        options: What was asked for.
        photos: At least one posed view.
        trust: The judge; None where no photo has depth, and nothing is judged.
        depths: The photos' depth, for the distance of what they look at.

    Raises:
        UsageError: The file of a path is not one.
        DepthrfError: No such path can be trusted; says why and what to do.
    """
    if options.path not in KINDS:
        yield from _given(options, photos, trust)
        return
    subject = subject_of(photos, distance=_middle_distance(depths))
    if options.allow_untrusted or trust is None:
        film = _film(options, photos, subject, options.path, 1.0, trust)
        if film.judgement is not None and not film.judgement.trusted:
            console.warn(film.judgement.reason())
        yield film
        return
    reasons: list[str] = []
    shown: set[tuple[str, float]] = set()
    reaches = _REACHES[options.path]
    attempts = [(options.path, reaches, GOOD_UNSEEN), (options.path, reaches, MOST_UNSEEN)]
    for kind, widths, most_unseen in attempts if options.path == "still" else [*attempts, _LAST_RESORT]:
        for reach in widths:
            if (kind, reach) in shown:
                continue
            film = _film(options, photos, subject, kind, reach, trust, most_unseen=most_unseen, glance=True)
            if film.judgement is not None and film.judgement.trusted:
                film = _film(options, photos, subject, kind, reach, trust, most_unseen=most_unseen)
            assert film.judgement is not None
            if film.judgement.trusted:
                _say_what_changed(options.path, kind, reach, reasons)
                shown.add((kind, reach))
                yield film
            else:
                reasons.append(film.judgement.reason())
    if not shown:
        raise DepthrfError(
            f"No {options.path} can be trusted here: {reasons[0]}. Try another --path, take photos of what is missing, "
            "or lift the bound with --allow-untrusted."
        )


def _say_what_changed(asked: str, kind: str, reach: float, reasons: list[str]) -> None:
    """``reasons``: of the films that were tried before; none where those were turned down by their pictures."""
    if kind != asked:
        because = f" can be trusted ({reasons[0]})" if reasons else " looks right"
        console.warn(f"no {asked}{because}; the film is a small {kind} before the middle photo")
    elif reach > 1.0:
        console.note(f"  {kind}: {reach:g} times as wide as usual, the widest that the photos bear out")
    elif reach < 1.0:
        because = f"; wider, {reasons[-1]}" if reasons else ""
        console.note(f"  {kind}: {reach:g} of the usual width{because}")


def _film(
    options: Options,
    photos: Sequence[View],
    subject: Subject,
    kind: str,
    reach: float,
    trust: Trust | None,
    *,
    most_unseen: float = MOST_UNSEEN,
    glance: bool = False,
) -> Film:
    """The film of a kind of path; ``glance``: of few of its frames."""
    route = KINDS[kind](photos, subject, reach, loop=options.loop)
    up = None if options.roll or kind == "still" else subject.up
    path = _zoomed(frames_of(route, _timing(options, options.fps), length_unit(photos), up), options.fov)
    if glance:
        path = path.part(slice(None, None, -(-len(path) // _GLANCES)))
    judgement = None if trust is None else trust.judge(path, jumps=not (glance or route.cuts), most_unseen=most_unseen)
    camera = film_camera(photos, options.max_side)
    return Film(kind, reach, path, camera, options.fps, options.loop or route.curve.closed, judgement)


def _given(options: Options, photos: Sequence[View], trust: Trust | None) -> Iterator[Film]:
    """The film of a path file, which is rendered as it is or refused."""
    found = read_path_file(Path(options.path), photos)
    unit = length_unit(photos)
    fps = (found.fps if found.every_frame else None) or options.fps
    path = _zoomed(frames_of(_route(found, fps, unit, options.loop), _timing(options, fps), unit), options.fov)
    judgement = None if trust is None else trust.judge(path)
    if judgement is not None and not judgement.trusted:
        if not options.allow_untrusted:
            raise DepthrfError(
                f"The path {options.path} cannot be trusted: {judgement.reason()}. Change it there, or render it "
                "nevertheless with --allow-untrusted."
            )
        console.warn(judgement.reason())
    camera = film_camera(photos, options.max_side, found.size)
    yield Film("keyframes", 1.0, path, camera, fps, options.loop or found.loop, judgement)


def _route(found: PathFile, fps: float, unit: float, loop: bool) -> Route:
    if found.every_frame:
        return through_frames(found.keyframes, fps)
    return through_keyframes(found.keyframes, unit, loop=loop or found.loop)


def _timing(options: Options, fps: float) -> Timing:
    return Timing(options.seconds, fps, options.ease, options.speed, options.loop, options.reverse)


def _zoomed(path: CameraPath, fov: tuple[float, ...]) -> CameraPath:
    """The path with one field of view, or one that goes from the first given to the last by equal factors."""
    if not fov:
        return path
    tangents = np.log(np.tan(np.deg2rad(np.array(fov)) / 2.0))
    at = np.linspace(0.0, 1.0, len(path))
    values = np.interp(at, np.linspace(0.0, 1.0, len(fov)), tangents) if len(fov) > 1 else np.full(len(path), tangents)
    return replace(path, fov=2.0 * np.rad2deg(np.arctan(np.exp(values))))


def _middle_distance(depths: Sequence[SeenDepth]) -> float | None:
    """Typical depth in the middle of the photos; None where none is known."""
    values = []
    for photo in depths:
        height, width = photo.depth.shape
        middle = photo.depth[height // 3 : -(-2 * height // 3), width // 3 : -(-2 * width // 3)]
        if (middle > 0).any():
            values.append(float(np.median(middle[middle > 0])))
    return float(np.median(values)) if values else None
