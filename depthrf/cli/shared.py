"""What several commands share: their common arguments, and the way from option tables to a finished run."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from depthrf import console, distributed, pipeline
from depthrf.cli.flags import completion, environment, one_of
from depthrf.device import CHOICES
from depthrf.errors import UsageError
from depthrf.freshness import foresee
from depthrf.options import build, with_absolute_paths
from depthrf.stages import evaluate
from depthrf.stages.stage import STAGES
from depthrf.storage import json_text
from depthrf.workspace import Workspace, lock

PhotosArg = Annotated[
    Path,
    typer.Argument(
        help="Folder of photos, a video, or an export with poses (Polycam, Record3D, Stray Scanner, COLMAP, ...).",
        show_default=False,
    ),
]
WorkspaceArg = Annotated[Path, typer.Argument(help="Workspace folder of an earlier run.", show_default=False)]
OutputOpt = Annotated[
    Path | None, typer.Option("-o", "--output", help="Workspace folder (default: PHOTOS-depthrf in this folder).")
]


def _known_preset(name: str | None) -> str | None:
    if name is not None:
        pipeline.load_pipeline(name)
    return name


_PRESET: dict[str, Any] = {
    "metavar": "NAME|FILE",
    "envvar": environment("pipeline"),
    "show_envvar": False,
    "callback": _known_preset,
    "autocompletion": lambda incomplete: completion(pipeline.presets())(incomplete),
}
PipelineOpt = Annotated[
    str | None,
    typer.Option(
        "--pipeline",
        **_PRESET,
        help="Preset name or .toml file (default: `default` with a GPU, `cpu` without).",
    ),
]
StagePipelineOpt = Annotated[
    str | None,
    typer.Option(
        "--pipeline",
        **_PRESET,
        help="Preset name or .toml file for this run (default: the workspace's; if it has none, as for reconstruct).",
    ),
]
DeviceOpt = Annotated[
    str | None,
    typer.Option(
        "--device",
        **one_of("--device", CHOICES),
        envvar=environment("device"),
        show_envvar=False,
        help="Where to compute (default: auto).",
    ),
]
JsonOpt = Annotated[bool, typer.Option("--json", help="Print JSON for scripts instead of a table.")]
SetOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Any other option, e.g. train.optimiser.batch_rays=2048; repeatable. `depthrf options` lists them.",
    ),
]
UntilOpt = Annotated[str | None, typer.Option("--until", **one_of("--until", STAGES), help="Last stage to run.")]
DryRunOpt = Annotated[
    bool, typer.Option("--dry-run", help="Only say which stages would run, and why; nothing is written.")
]
ForceOpt = Annotated[bool, typer.Option("--force", help="Run stages again even when nothing changed.")]


def check_source(photos: Path) -> None:
    """Raises unless there is a folder or video."""
    from depthrf.io.photos.clip import check_source

    check_source(photos)


def check_folder(folder: Path) -> None:
    """Raises unless there is a folder."""
    if not folder.exists():
        raise UsageError(f"No such folder: {folder}")
    if not folder.is_dir():
        raise UsageError(f"{folder} is a file; expected a folder of photos.")


_COLOURS = {"ok": "green", "warning": "yellow", "error": "red"}


def print_table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout: in columns on a terminal, and to a script one row a line with tabs between its cells.

    Cells that say ``ok``, ``warning`` or ``error`` are in colour.
    """
    if not sys.stdout.isatty():
        for row in (heading, *rows):
            console.result("\t".join(" ".join(cell.split()) for cell in row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*heading, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(Text(console.printable(cell), _COLOURS.get(cell, "")) for cell in row))
    Console(highlight=False).print(table)


def print_marked(mark: str, colour: str, text: str) -> None:
    """A line on stdout whose first word is in colour, where stdout is a terminal and ``NO_COLOR`` is not set."""
    from rich.console import Console
    from rich.text import Text

    line = Text.assemble((mark, f"bold {colour}"), console.printable(text))
    Console(highlight=False, soft_wrap=True).print(line)


def tell_dry_run(
    workspace: Workspace, plan: pipeline.Plan, stages: tuple[str, ...], *, force: bool, as_json: bool
) -> None:
    """What ``--dry-run`` prints: which of the stages would run, and why."""
    why = foresee(workspace, plan, stages)
    if force:
        why = {stage: reasons or ("--force",) for stage, reasons in why.items()}
    if as_json:
        print_json([{"stage": stage, "runs": bool(reasons), "why": reasons} for stage, reasons in why.items()])
        return
    print_table(
        ("stage", "", "why"), [(s, "runs" if reasons else "stands", "; ".join(reasons)) for s, reasons in why.items()]
    )


def print_json(value: Any) -> None:
    """What ``--json`` puts on stdout, for every command the same way: dataclasses as objects, no number as null."""
    console.result(json_text(value))


def writable(work: Callable[[], Any], output: Path) -> None:
    """Does ``work``, and turns a failure to write ``output`` into one sentence."""
    try:
        work()
    except OSError as e:
        raise UsageError(f"Cannot write to {output}: {e.strerror}. Choose another folder with -o.") from e


def check_values(changes: dict[str, Any]) -> None:
    """Raises where the command line's own options are wrong, so that this is told before what is wrong with folders."""
    pipeline.make_plan(changes, "the command line")


def run_single(workspace: Workspace, stage: str, options: Any, *, force: bool) -> None:
    """Runs one stage, in all processes of torchrun if there are several."""
    writing = lock(workspace) if distributed.is_first() else contextlib.nullcontext()
    with distributed.connected(getattr(options, "device", "cpu")), writing:
        pipeline.run_stage(workspace, stage, options, force=force)


def run_evaluate(workspace: Workspace, values: dict[str, Any], *, force: bool) -> None:
    """Scores the trained field; ``values`` are options of :class:`depthrf.stages.evaluate.Options`."""
    options = with_absolute_paths(build(evaluate.Options, values, "the command line"))
    with lock(workspace):
        pipeline.run_stage(workspace, "evaluate", options, force=force)
