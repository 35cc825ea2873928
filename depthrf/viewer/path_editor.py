"""Keyframes that somebody collects in the viewer, as the path file that ``depthrf render --path`` takes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from depthrf.errors import UsageError
from depthrf.geometry.paths.keyframes import Keyframe, through_keyframes
from depthrf.geometry.transforms import rigid
from depthrf.io.camera_paths.own import FORMAT
from depthrf.storage import write_json
from depthrf.viewer.renderer import Eye


@dataclass
class PathEditor:
    """Keyframes in order, each with the seconds since the one before."""

    eyes: list[Eye] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)

    def add(self, eye: Eye, gap: float) -> None:
        """A keyframe, passed ``gap`` seconds after the last one."""
        self.eyes.append(eye)
        self.gaps.append(gap)

    def remove_last(self) -> None:
        """Takes the last keyframe away, if there is one."""
        del self.eyes[-1:], self.gaps[-1:]

    def keyframes(self) -> list[Keyframe]:
        """The keyframes with their times; the first is at 0."""
        times = np.cumsum([0.0, *self.gaps[1:]])[: len(self.eyes)]
        return [
            Keyframe(eye.cam_from_world, float(at), math.degrees(eye.fov))
            for eye, at in zip(self.eyes, times, strict=True)
        ]

    def sample(self, unit: float, fps: float, aspect: float) -> list[Eye]:
        """The eyes of the path's frames, as ``render`` joins the keyframes; none with fewer than two keyframes.

        Args:
            unit: The distance that counts as much as a turn of one radian.
            fps: Frames per second.
            aspect: Of the window.
        """
        if len(self.eyes) < 2:
            return []
        route = through_keyframes(self.keyframes(), unit)
        if route.at is None:
            return []
        at = np.arange(0.0, float(route.at[-1]), 1.0 / fps)
        index = np.interp(at, route.at, np.arange(len(route.at))).round().astype(int)
        fov = route.fov if route.fov is not None else np.full(len(route.at), math.degrees(self.eyes[0].fov))
        rotations = route.curve.rotations.as_matrix()
        poses = [rigid(rotations[i], -rotations[i] @ route.curve.positions[i]) for i in index]
        return [Eye(pose, math.radians(float(fov[i])), aspect) for pose, i in zip(poses, index, strict=True)]

    def save(self, folder: Path, name: str) -> Path:
        """Writes ``<folder>/<name>.json``.

        Raises:
            UsageError: There are no keyframes, or the name is no plain file name.
        """
        stem = name.strip().removesuffix(".json")
        if not stem or stem.startswith(".") or any(c in '/\\:*?"<>|' or ord(c) < 32 for c in stem) or len(stem) > 100:
            raise UsageError("A path's name is made of letters, digits, spaces and dashes.")
        if not self.eyes:
            raise UsageError("There are no keyframes yet.")
        keyframes = [
            {"cam_from_world": k.cam_from_world[:3].tolist(), "time": k.time, "fov": k.fov} for k in self.keyframes()
        ]
        path = folder / f"{stem}.json"
        folder.mkdir(exist_ok=True)
        write_json(path, {"format": FORMAT, "keyframes": keyframes})
        return path
