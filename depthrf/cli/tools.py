"""The commands beside a reconstruction: doctor, weights, plot."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from depthrf import console
from depthrf.cli.flags import completion
from depthrf.cli.help import GroupedHelp, with_common_flags
from depthrf.cli.shared import JsonOpt, WorkspaceArg, print_json, print_table, writable
from depthrf.errors import UsageError
from depthrf.workspace import open_workspace

if TYPE_CHECKING:
    from depthrf.doctor import Finding


def _weights_named(incomplete: str) -> list[str]:
    from depthrf.io.weights import manifest as weights

    return completion(weights.manifest())(incomplete)


NameArg = Annotated[
    str,
    typer.Argument(help="Their name, as `weights list` shows it.", show_default=False, autocompletion=_weights_named),
]
weights_app = typer.Typer(help="Weights of the networks: list, fetch, verify, path.", no_args_is_help=True)
plot_app = typer.Typer(help="Pictures that explain a run: poses, curves, ray.", no_args_is_help=True)


def doctor(
    folder: Annotated[Path, typer.Argument(help="Where the workspace would be.")] = Path(),
    *,
    as_json: JsonOpt = False,
) -> None:
    """Examines this machine and says how to fix what is missing. The exit code is 1 if depthrf cannot run."""
    from depthrf.doctor import examine

    findings = examine(folder)
    if as_json:
        print_json(findings)
    else:
        print_table(("", "what", "found", "to do"), [(_mark(f), f.what, f.found, f.fix or "") for f in findings])
    if any(f.required for f in findings):
        sys.exit(1)


def _mark(finding: Finding) -> str:
    if finding.fix is None:
        return "ok"
    return "error" if finding.required else "warning"


@weights_app.command("list", cls=GroupedHelp)
@with_common_flags
def weights_list(*, as_json: JsonOpt = False) -> None:
    """Lists known weights, their licences, and whether they are here."""
    from depthrf.io.weights import manifest as weights

    found = weights.list_weights()
    if as_json:
        print_json(found)
        return
    here = [str(w.path) if w.present else "not here" for w in found]
    rows = [(w.weights.name, w.weights.title, w.weights.licence, file) for w, file in zip(found, here, strict=True)]
    print_table(("weights", "for", "licence", "file"), rows)


@weights_app.command("fetch", cls=GroupedHelp)
@with_common_flags
def weights_fetch(name: NameArg) -> None:
    """Shows the licence of weights, then downloads them into the cache."""
    from depthrf.io.weights import manifest as weights

    console.result(weights.fetch(name))


@weights_app.command("verify", cls=GroupedHelp)
@with_common_flags
def weights_verify(name: NameArg) -> None:
    """Checks the size and checksum of downloaded weights."""
    from depthrf.io.weights import manifest as weights

    console.result(weights.verify(name))


@weights_app.command("path", cls=GroupedHelp)
@with_common_flags
def weights_path(name: NameArg) -> None:
    """Prints where the weights are or would be."""
    from depthrf.io.weights import manifest as weights

    console.result(weights.path(name))


@plot_app.command("poses", cls=GroupedHelp)
@with_common_flags
def plot_poses(
    source: Annotated[
        Path,
        typer.Argument(help="A workspace, a transforms.json, a COLMAP model or a data set folder.", show_default=False),
    ],
    photos: Annotated[Path | None, typer.Option(help="Where the photos lie, if not beside the poses.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Folder for poses.png and poses.html.")] = None,
) -> None:
    """Draws camera frusta with their photos: poses.png, and poses.html to turn around in a browser."""
    if not source.exists():
        raise UsageError(f"No such file or folder: {source}")
    from depthrf.plot import poses
    from depthrf.plot.scene import load_scene

    scene = load_scene(source, photos)
    folder = _plots(source, output)
    poses.write_png(folder / "poses.png", scene)
    poses.write_html(folder / "poses.html", scene, source.absolute().name)
    console.result(folder / "poses.png")
    console.result(folder / "poses.html")


@plot_app.command("curves", cls=GroupedHelp)
@with_common_flags
def plot_curves(
    workspaces: Annotated[list[Path], typer.Argument(help="One or more workspaces to compare.", show_default=False)],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Folder for curves.png.")] = None,
) -> None:
    """Draws PSNR, losses and speed of training against the step, for one or more workspaces."""
    opened = [open_workspace(workspace) for workspace in workspaces]
    from depthrf.plot import curves

    runs = {str(given): curves.read_metrics(w.metrics) for given, w in zip(workspaces, opened, strict=True)}
    path = _plots(workspaces[0], output) / "curves.png"
    curves.write_png(path, runs)
    console.result(path)


@plot_app.command("ray", cls=GroupedHelp)
@with_common_flags
def plot_ray(
    workspace: WorkspaceArg,
    view: Annotated[str, typer.Option(help="Name of the photo.", show_default=False)],
    pixel: Annotated[str, typer.Option(help="X,Y in the undistorted photo.", show_default=False)],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Folder for the picture.")] = None,
) -> None:
    """Draws the depth bound on one ray: cumulative weights, their Gaussian bounds, and what the loss penalises."""
    try:
        x, y = (float(part) for part in pixel.split(","))
    except ValueError:
        raise UsageError(f"--pixel takes X,Y, for example 320,240; found {pixel!r}") from None
    opened = open_workspace(workspace)
    from depthrf.plot import ray

    found = ray.trace(opened, view, (x, y))
    path = _plots(workspace, output) / f"ray_{Path(found.view).stem}_{x:g}_{y:g}.png"
    ray.write_png(path, found)
    console.result(path)


def _plots(source: Path, output: Path | None) -> Path:
    """Folder for pictures of ``source``: inside it if it is a workspace, else a new one in the current folder."""
    inside = (source / "workspace.json").is_file()
    folder = output or (source / "plots" if inside else Path(f"{source.absolute().stem}-plots"))
    writable(lambda: folder.mkdir(parents=True, exist_ok=True), folder)
    return folder
