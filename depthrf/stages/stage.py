"""What a stage is, and the registry of all of them.

A stage is a module that talks to the others through files of the workspace alone. ``depthrf.pipeline`` decides whether
a stage has to run, runs it and writes its record last. Stage modules import heavy packages inside functions, so that
the command line can read their ``Options`` quickly.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, TypeVar

from depthrf.stages import align, depth, evaluate, export, ingest, merge, render, sfm, train
from depthrf.workspace import Workspace

O = TypeVar("O")


class Stage(Protocol[O]):
    """The names that a stage's module defines.

    ``Options`` is a frozen dataclass of :func:`depthrf.options.option` fields. ``run`` returns a frozen dataclass of
    plain values, which becomes ``summary`` in ``records/<stage>.json``.
    """

    @property
    def HELP(self) -> str:
        """What its command does, as a sentence that begins with a verb in lower case."""

    @property
    def REQUIRES(self) -> tuple[str, ...]:
        """Names of the stages whose results it reads."""

    @property
    def Options(self) -> type[O]:
        """Its options, with their defaults."""

    def inputs(self, workspace: Workspace, options: O) -> list[Path]:
        """Files and folders whose contents decide the result, together with the options."""

    def outputs(self, workspace: Workspace, options: O) -> list[Path]:
        """Files and folders that it writes."""

    def run(self, workspace: Workspace, options: O) -> object:
        """Does the work and returns the summary."""


def _checked(stage: Stage[O]) -> Stage[Any]:
    """Lets mypy see that the functions of one module agree about the type of its options."""
    return stage


STAGES: dict[str, Stage[Any]] = {
    "ingest": _checked(ingest),
    "sfm": _checked(sfm),
    "depth": _checked(depth),
    "align": _checked(align),
    "merge": _checked(merge),
    "train": _checked(train),
    "render": _checked(render),
}
"""The stages of the pipeline, in the order in which they run."""

EXTRA: dict[str, Stage[Any]] = {"evaluate": _checked(evaluate), "export": _checked(export)}
"""Stages that a command of their own runs on a finished workspace."""
