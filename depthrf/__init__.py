"""depthrf: from a handful of ordinary photos to a video that flies through the scene.

:func:`reconstruct`, :func:`evaluate` and :func:`export` do what the commands of these names do; a :class:`Workspace`
has the paths of all results. Importing the package loads nothing heavy: the calls load what they need.

Below them, ``depthrf.pipeline`` runs stages, and ``depthrf.stages`` holds one module per stage, each with an
``Options`` dataclass and ``run(workspace, options) -> Summary``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from depthrf.api import evaluate, export, reconstruct
    from depthrf.errors import DepthrfError, UsageError
    from depthrf.workspace import Workspace

__version__ = "0.1.0"
__all__ = ["DepthrfError", "UsageError", "Workspace", "__version__", "evaluate", "export", "reconstruct"]

_HOMES = {
    "evaluate": "api",
    "export": "api",
    "reconstruct": "api",
    "DepthrfError": "errors",
    "UsageError": "errors",
    "Workspace": "workspace",
}


def __getattr__(name: str) -> Any:
    """Loads an exported name when it is first used (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
