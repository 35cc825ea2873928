"""The commands beside a reconstruction: bench, doctor, weights, plot."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from depthrf import console, pipeline
from depthrf.bench import protocol
from depthrf.cli.flags import group_flags, with_flags
from depthrf.cli.flags import tables as given_tables
from depthrf.cli.shared import ForceOpt, WorkspaceArg, check_folder, writable
from depthrf.errors import UsageError
from depthrf.options import build
from depthrf.workspace import open_workspace

weights_app = typer.Typer(help="Weights of the depth networks: list, fetch, verify, path.", no_args_is_help=True)
plot_app = typer.Typer(help="Pictures that explain a run: poses, curves, ray.", no_args_is_help=True)

BENCH = group_flags(
    protocol.Options, defaults=dict.fromkeys(("optimiser.steps", "optimiser.batch_rays"), "the field's")
)


@with_flags(BENCH)
def bench(
    scene: Annotated[
        Path,
        typer.Argument(help="A nerf_synthetic scene: a folder, or its name below $DEPTHRF_DATA.", show_default=False),
    ],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Results (default: bench-SCENE-FIELD).")] = None,
    field: Annotated[str, typer.Option(help="hash, or mlp: the published network.")] = "hash",
    *,
    force: ForceOpt = False,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Any other option, e.g. optimiser.rate=2e-3; repeatable.")
    ] = None,
    **values: Any,
) -> None:
    """Trains on a NeRF synthetic scene by the published protocol and prints the published numbers beside ours."""
    from depthrf.bench import blender, tables

    if field not in protocol.PRESETS:
        raise UsageError(f"--field should be one of {', '.join(protocol.PRESETS)}; found {field!r}")
    if values["ids"] and not values["views"]:
        values["views"] = str(len(values["ids"].split(",")))
    given = pipeline.merge_tables(given_tables(BENCH, values), pipeline.assignments(settings or []))
    merged = pipeline.merge_tables(protocol.SHARED, protocol.PRESETS[field])
    if field == "hash" and int(given.get("scales", 1)) > 1:
        merged = pipeline.merge_tables(merged, protocol.SEVERAL_SCALES)
    merged = pipeline.merge_tables(merged, given)
    folder = output or Path(f"bench-{scene.name}-{field}")
    results = blender.run(_scene(scene), folder, build(protocol.Options, merged, "the command line"), force=force)
    tables.print_results(scene.name, results)
    typer.echo(folder)


def _scene(scene: Path) -> Path:
    """The scene's folder: as given, or below the folder of evaluation data."""
    data = Path(os.environ.get("DEPTHRF_DATA", "")) / scene
    if scene.is_dir() or not data.is_dir():
        check_folder(scene)
        return scene
    return data


def doctor(
    folder: Annotated[Path, typer.Argument(help="Where the workspace would be.")] = Path(),
) -> None:
    """Looks at what this machine has and says what to do about what it lacks; exit code 1 if depthrf cannot run."""
    from rich.markup import escape
    from rich.table import Table

    from depthrf.doctor import examine

    findings = examine(folder)
    table = Table(box=None, show_header=False, pad_edge=False)
    for f in findings:
        mark = "[green]ok[/]" if f.fix is None else "[red]error[/]" if f.required else "[yellow]warning[/]"
        table.add_row(mark, f.what, escape(f.found + (f"\n-> {f.fix}" if f.fix else "")))
    console.console().print(table)
    if any(f.required for f in findings):
        sys.exit(1)


@weights_app.command("list")
def weights_list() -> None:
    """Known weights, their licences, and whether they are here."""
    from depthrf.io import weights

    for line in weights.list_weights():
        typer.echo(line)


@weights_app.command("fetch")
def weights_fetch(name: str) -> None:
    """Downloads weights into the cache; shows the licence first."""
    from depthrf.io import weights

    typer.echo(weights.fetch(name))


@weights_app.command("verify")
def weights_verify(name: str) -> None:
    """Checks size and checksum of downloaded weights."""
    from depthrf.io import weights

    typer.echo(weights.verify(name))


@weights_app.command("path")
def weights_path(name: str) -> None:
    """Prints where the weights are or would be."""
    from depthrf.io import weights

    typer.echo(weights.path(name))


@plot_app.command("poses")
def plot_poses(
    source: Annotated[
        Path,
        typer.Argument(help="A workspace, a transforms.json, a COLMAP model or a data set folder.", show_default=False),
    ],
    photos: Annotated[Path | None, typer.Option(help="Where the photos lie, if not beside the poses.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Folder for poses.png and poses.html.")] = None,
) -> None:
    """Camera frusta with their photos: poses.png, and poses.html to turn them in any browser."""
    if not source.exists():
        raise UsageError(f"No such file or folder: {source}")
    from depthrf.plot import poses
    from depthrf.plot.scene import load_scene

    scene = load_scene(source, photos)
    folder = _plots(source, output)
    poses.write_png(folder / "poses.png", scene)
    poses.write_html(folder / "poses.html", scene, source.absolute().name)
    typer.echo(folder / "poses.png")
    typer.echo(folder / "poses.html")


@plot_app.command("curves")
def plot_curves(
    workspaces: Annotated[list[Path], typer.Argument(help="One or more workspaces to compare.", show_default=False)],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Folder for curves.png.")] = None,
) -> None:
    """PSNR, losses and speed of the training by step; several workspaces side by side."""
    opened = [open_workspace(workspace) for workspace in workspaces]
    from depthrf.plot import curves

    runs = {str(given): curves.read_metrics(w.metrics) for given, w in zip(workspaces, opened, strict=True)}
    path = _plots(workspaces[0], output) / "curves.png"
    curves.write_png(path, runs)
    typer.echo(path)


@plot_app.command("ray")
def plot_ray(
    workspace: WorkspaceArg,
    view: Annotated[str, typer.Option(help="Name of the photo.", show_default=False)],
    pixel: Annotated[str, typer.Option(help="X,Y in the undistorted photo.", show_default=False)],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Folder for the picture.")] = None,
) -> None:
    """The depth bound on one ray: cumulative weights, their Gaussian bounds, and what the loss penalises."""
    opened = open_workspace(workspace)
    try:
        x, y = (float(part) for part in pixel.split(","))
    except ValueError:
        raise UsageError(f"--pixel takes X,Y, for example 320,240; found {pixel!r}") from None
    from depthrf.plot import ray

    found = ray.trace(opened, view, (x, y))
    path = _plots(workspace, output) / f"ray_{Path(found.view).stem}_{x:g}_{y:g}.png"
    ray.write_png(path, found)
    typer.echo(path)


def _plots(source: Path, output: Path | None) -> Path:
    """Where pictures of ``source`` go: into a workspace, else into a folder of their own here."""
    inside = (source / "workspace.json").is_file()
    folder = output or (source / "plots" if inside else Path(f"{source.absolute().stem}-plots"))
    writable(lambda: folder.mkdir(parents=True, exist_ok=True), folder)
    return folder
