"""``depth/scale.json``: the length of a scene unit in metres, its standard deviation, and every source for it."""

from __future__ import annotations

from dataclasses import dataclass

from depthrf.storage import read_typed
from depthrf.workspace import Workspace


@dataclass(frozen=True)
class ScaleSource:
    """What one source says.

    Attributes:
        what: The source in words.
        metres_per_unit, deviation: Its answer and the standard deviation of that, metres.
        used: Whether it is part of the scene's scale.
    """

    what: str
    metres_per_unit: float
    deviation: float
    used: bool = True


@dataclass(frozen=True)
class SceneScale:
    """The scene's scale.

    Attributes:
        metres_per_unit: None where it is not known.
        deviation: Standard deviation of ``metres_per_unit``, metres.
        sources: All that was known about it.
        disagreement: In words, where sources contradict one another.
    """

    metres_per_unit: float | None = None
    deviation: float | None = None
    sources: tuple[ScaleSource, ...] = ()
    disagreement: str | None = None


def read_scale(workspace: Workspace) -> SceneScale:
    """The scale that ``merge`` settled; an empty one where it is not known or merge has not run.

    Raises:
        DepthrfError: The file is damaged.
    """
    return read_typed(workspace.scale, SceneScale) if workspace.scale.is_file() else SceneScale()


def metres_per_unit(workspace: Workspace) -> float | None:
    """Metres per scene unit; None where it is not known."""
    return read_scale(workspace).metres_per_unit
