"""What added photos have brought: the field before and after, on views that say something about it.

A new photo was unseen by the old field alone, and the photos that were there were trained on both times. Only views
that are held out from both fields measure what new views gain.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from depthrf import console
from depthrf.errors import DepthrfError
from depthrf.stages.training.exposures import read_exposures
from depthrf.storage import fresh_dir
from depthrf.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from depthrf.geometry.camera import View
    from depthrf.io.trained_field import TrainedField

_NEAREST = 2
"""Views that are compared for each new photo, at most."""


@dataclass(frozen=True)
class Change:
    """PSNR in dB of views near a new photo, mean over them, with the old field and with the new one."""

    views: tuple[str, ...]
    before: float
    after: float


@dataclass(frozen=True)
class Gain:
    """Of one new photo.

    Attributes:
        name: The photo.
        unseen: PSNR of the old field on it, dB: how well its content was known without it.
        trained: PSNR of the new field on it, which was trained on it.
        held_out: Of views near it that neither field has seen; None where there are none.
        neighbours: Of photos near it that both fields were trained on.
    """

    name: str
    unseen: float
    trained: float
    held_out: Change | None
    neighbours: Change | None


def measure(workspace: Workspace, before: Path, names: Sequence[str], pictures: Path, device: str) -> list[Gain]:
    """Renders and scores with both fields.

    Args:
        workspace: With the new field.
        before: Checkpoint of the old one.
        names: The new photos.
        pictures: Folder for a picture of each scored view and field.
        device: Where to compute.
    """
    from depthrf.device import resolve
    from depthrf.io.poses.transforms_json import load_views
    from depthrf.io.trained_field import load_field

    fresh_dir(pictures)
    fields = [load_field(path, resolve(device)) for path in (before, workspace.checkpoint)]
    train, _ = load_views(workspace.transforms)
    images, masks = workspace.undistorted_images, workspace.undistorted_masks
    exposures = read_exposures(workspace)
    scorer = _Scorer(fields, pictures, lambda view: exposures.gain_at(view, train))
    trained = {view.name: (view, images, masks) for view in train}
    held_out = _held_out(workspace, device)
    gains = []
    for name in console.track(names, "measuring the gain"):
        unseen, now = scorer.psnr(*trained[name])
        others = {other: found for other, found in trained.items() if other not in names}
        near = scorer.change(trained[name][0], others)
        gains.append(Gain(name, unseen, now, scorer.change(trained[name][0], held_out), near))
    return gains


def tell(gains: Sequence[Gain]) -> None:
    """One line a photo and comparison, in words that say what the figure means."""
    for gain in gains:
        console.note(f"  {gain.name}: the field before showed it with {gain.unseen:.1f} dB, without having seen it")
        if gain.held_out is not None:
            console.note(f"  {_signed(gain.held_out)} on held-out views near {gain.name}, which neither field has seen")
        if gain.neighbours is not None:
            console.note(f"  {_signed(gain.neighbours)} on photos near {gain.name}, which both fields were trained on")
    console.note("  The differences are those of the further training steps as well as of the new photos.")
    if not any(gain.held_out for gain in gains):
        console.note(
            "  What unseen views gain is not measured: no photo is held out. `depthrf evaluate --photos DIR` scores "
            "photos that were not added."
        )


def _signed(change: Change) -> str:
    return f"{change.after - change.before:+.1f} dB ({change.before:.1f} before, {change.after:.1f} now)"


_Scored = dict[str, "tuple[View, Path, Path]"]
"""Views by name, with the folders of their photos and masks."""


def _held_out(workspace: Workspace, device: str) -> _Scored:
    from depthrf.io.poses.transforms_json import load_views
    from depthrf.stages.scoring.held_out import find

    if not workspace.held_out.is_dir() and not load_views(workspace.transforms)[1]:
        return {}
    try:
        found = find(workspace, None, device)
    except DepthrfError as e:
        console.warn(f"the held-out photos cannot be scored: {e}")
        return {}
    return {view.name: (view, found.images, found.masks) for view in found.views}


class _Scorer:
    """Scores each view once with each field."""

    def __init__(
        self, fields: Sequence[TrainedField], pictures: Path, exposure: Callable[[View], NDArray[np.float64]]
    ) -> None:
        self._fields, self._pictures, self._exposure = fields, pictures, exposure
        self._found: dict[str, tuple[float, float]] = {}

    def psnr(self, view: View, images: Path, masks: Path) -> tuple[float, float]:
        from depthrf.stages.scoring.views import score_view

        if view.name not in self._found:
            photo, gain = images / view.name, self._exposure(view)
            found = [
                score_view(field, view, photo, self._pictures / f"{view.stem}_{when}.png", masks=masks, gain=gain)
                for field, when in zip(self._fields, ("before", "after"), strict=True)
            ]
            before, after = (math.nan if scores.psnr is None else scores.psnr for scores in found)  # all masked
            self._found[view.name] = before, after
        return self._found[view.name]

    def change(self, view: View, others: _Scored) -> Change | None:
        """Of those of ``others`` that are nearest to ``view``; None without any."""
        near = sorted(others, key=lambda name: (self._distance(view, others[name][0]), name))[:_NEAREST]
        if not near:
            return None
        found = [self.psnr(*others[name]) for name in near]
        before, after = (sum(values) / len(near) for values in zip(*found, strict=True))
        return Change(tuple(near), before, after)

    def _distance(self, view: View, other: View) -> float:
        """Between the cameras in the normalised scene, plus the angle between their axes in radians."""
        import numpy as np

        scale = self._fields[0].normalised_from_scene.scale
        cosine = float(view.cam_from_world[2, :3] @ other.cam_from_world[2, :3])
        return float(scale * np.linalg.norm(view.centre - other.centre) + np.arccos(np.clip(cosine, -1.0, 1.0)))
