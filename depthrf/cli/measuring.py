"""The command `measure`."""

from __future__ import annotations

from typing import Annotated

import typer

from depthrf import console, pipeline
from depthrf.cli.flags import one_of
from depthrf.cli.shared import JsonOpt, WorkspaceArg, print_json
from depthrf.stages.measuring.given import METRES, point_of
from depthrf.workspace import open_workspace


def measure(
    workspace: WorkspaceArg,
    photo: Annotated[str, typer.Argument(help="Name of the photo.", show_default=False)],
    first: Annotated[str, typer.Argument(help="X,Y of the first point, pixels of the photo.", show_default=False)],
    second: Annotated[str, typer.Argument(help="X,Y of the second point.", show_default=False)],
    unit: Annotated[
        str | None,
        typer.Option("--unit", **one_of("--unit", METRES), help="Default: m, or scene units without a scale."),
    ] = None,
    *,
    as_json: JsonOpt = False,
) -> None:
    """Measures the length between two points of a photo, with its standard deviation."""
    points = (point_of(first), point_of(second))
    opened = open_workspace(workspace)
    pipeline.check_run(opened, "measure", ("sfm", "merge"))
    from depthrf.stages.measuring.measured import measure as measured

    found = measured(opened, photo, points, unit)
    if as_json:
        print_json(found)
        return
    console.result(found)
    if found.unit == "scene units":
        console.note("No length of this scene is known in metres: tell one with depthrf merge --known-length")
