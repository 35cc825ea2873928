"""The command line: flags to options, errors to one message and an exit code. The only file that imports typer."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import os
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from depthrf import __version__, console, distributed, pipeline
from depthrf.device import CHOICES, has_cuda_driver
from depthrf.errors import DepthrfError, UsageError
from depthrf.nerf.options import LossOptions
from depthrf.options import build
from depthrf.workspace import Workspace, create_workspace, lock, open_workspace

app = typer.Typer(
    name="depthrf",
    help="From a handful of ordinary photos to a video that flies through the scene.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
weights_app = typer.Typer(help="Weights of the depth networks: list, fetch, verify, path.", no_args_is_help=True)
app.add_typer(weights_app, name="weights")
plot_app = typer.Typer(help="Pictures that explain a run: poses, curves, ray.", no_args_is_help=True)
app.add_typer(plot_app, name="plot")

_LOSSES = ", ".join(next(f for f in dataclasses.fields(LossOptions) if f.name == "depth").metadata["choices"])
_STEPS = "training steps (default: the preset's)"

PhotosArg = Annotated[
    Path,
    typer.Argument(
        help="Folder of photos, a video, or an export with poses (Polycam, Record3D, Stray Scanner, COLMAP, ...).",
        show_default=False,
    ),
]
FramesOpt = Annotated[int | None, typer.Option(help="Of a video, this many frames at most (default: 40).")]
MasksOpt = Annotated[
    Path | None,
    typer.Option(help="Folder of masks <photo>.png, black = ignore (default: `masks` in or beside the photo folder)."),
]
WorkspaceArg = Annotated[Path, typer.Argument(help="Workspace folder of an earlier run.", show_default=False)]
OutputOpt = Annotated[
    Path | None, typer.Option("-o", "--output", help="Workspace folder (default: PHOTOS-depthrf in this folder).")
]
PipelineOpt = Annotated[
    str | None,
    typer.Option("--pipeline", help="Preset name or .toml file (default: `default` with a GPU, `cpu` without)."),
]
DeviceOpt = Annotated[str, typer.Option("--device", help=f"One of {', '.join(CHOICES)}.")]
SensorDepthOpt = Annotated[
    Path | None,
    typer.Option(
        help="Folder of sensor depth maps named like the photos: 16-bit PNG (millimetres), npy or EXR (metres)."
    ),
]
DepthUnitOpt = Annotated[float | None, typer.Option(help="Metres per count of PNG depth maps (default 0.001).")]
DepthCameraOpt = Annotated[
    Path | None, typer.Option(help="Intrinsics of a depth camera that does not see just what the photos show.")
]
ExportPosesOpt = Annotated[
    bool | None, typer.Option(help="Use poses that lie in the photo folder, as in phone apps' exports (default: yes).")
]
MaxPhotosOpt = Annotated[
    int | None, typer.Option(help="Of an export with more photos, this many at equal steps are used (default 60).")
]
HoldoutOpt = Annotated[
    str | None,
    typer.Option(help="Photos that only `evaluate` sees: every:8, comma-separated names, or a .txt file of names."),
]
SetOpt = Annotated[
    list[str] | None, typer.Option("--set", help="Any other option, e.g. train.optimiser.batch_rays=2048; repeatable.")
]
ForceOpt = Annotated[bool, typer.Option("--force", help="Run stages again even when nothing changed.")]


@app.command()
def reconstruct(
    photos: PhotosArg,
    output: OutputOpt = None,
    preset: PipelineOpt = None,
    sensor_depth: SensorDepthOpt = None,
    depth_unit: DepthUnitOpt = None,
    depth_camera: DepthCameraOpt = None,
    poses: Annotated[
        Path | None, typer.Option(help="Known poses: a transforms.json, a COLMAP model, or an export with poses.")
    ] = None,
    export_poses: ExportPosesOpt = None,
    max_photos: MaxPhotosOpt = None,
    refine_poses: Annotated[
        str | None,
        typer.Option(help="Adjust given poses to the photos, where that fits better: auto (a phone's), yes, no."),
    ] = None,
    refine_intrinsics: Annotated[
        bool | None, typer.Option(help="With given poses: adjust focal length and distortion to the photos.")
    ] = None,
    focal_px: Annotated[float | None, typer.Option(help="Focal length of all photos in pixels, kept as given.")] = None,
    fov: Annotated[
        float | None, typer.Option(help="Horizontal field of view of all upright photos in degrees, kept as given.")
    ] = None,
    masks: MasksOpt = None,
    frames: FramesOpt = None,
    mono_depth: Annotated[
        Path | None, typer.Option(help="Folder of monocular depth maps to use: <photo>.npy, .png (16-bit) or .exr.")
    ] = None,
    mono_kind: Annotated[
        str | None, typer.Option(help="What they hold: depth, inverse-depth, metric or unknown (the default).")
    ] = None,
    depth_source: Annotated[
        str | None,
        typer.Option(help="Dense depth: auto (network if its weights are there, else stereo), network, stereo, none."),
    ] = None,
    holdout: HoldoutOpt = None,
    depth_loss: Annotated[str | None, typer.Option(help=f"One of {_LOSSES} (default: the preset's).")] = None,
    steps: Annotated[int | None, typer.Option(help=_STEPS)] = None,
    budget: Annotated[
        str | None, typer.Option(help="Time for training instead of a number of steps: 90s, 10m, 1h.")
    ] = None,
    path: Annotated[str | None, typer.Option(help="Camera path of the video: tour or orbit.")] = None,
    depth_video: Annotated[bool | None, typer.Option(help="Also render a video of the depth.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of SfM and training.")] = None,
    device: DeviceOpt = "auto",
    first: Annotated[str | None, typer.Option("--from", help="First stage to run.")] = None,
    last: Annotated[str | None, typer.Option("--until", help="Last stage to run.")] = None,
    force: ForceOpt = False,
    settings: SetOpt = None,
) -> None:
    """Photos to video: runs all stages; a second run goes on where the first one stopped."""
    stages = pipeline.select(first, last)
    changes: dict[str, Any] = {
        "ingest": {
            "photos": photos,
            "sensor_depth": sensor_depth,
            "depth_unit": depth_unit,
            "depth_camera": depth_camera,
            "export_poses": export_poses,
            "max_photos": max_photos,
            "masks": masks,
            "frames": frames,
            "holdout": holdout,
        },
        "sfm": {
            "poses": poses,
            "refine_poses": refine_poses,
            "refine_intrinsics": refine_intrinsics,
            "focal_px": focal_px,
            "fov": fov,
            "seed": seed,
        },
        "depth": {"source": depth_source, "mono_depth": mono_depth, "mono_kind": mono_kind},
        "train": {"loss": {"depth": depth_loss}, "optimiser": {"steps": steps}, "budget": budget, "seed": seed},
        "render": {"path": path, "depth_video": depth_video},
    }
    _check_source(photos)
    plan = _plan(preset, pipeline.merge_tables(_given(changes), pipeline.assignments(settings or [])), device)
    workspace = create_workspace(output or _default_output(photos), photos)
    _reconstruct(workspace, plan, stages, force)
    if stages[-1] == "render":
        typer.echo(workspace.video)


@app.command()
def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the photos and the workspace.")] = Path(
        "depthrf-demo"
    ),
    preset: PipelineOpt = None,
    steps: Annotated[int | None, typer.Option(help=_STEPS)] = None,
    device: DeviceOpt = "auto",
    settings: SetOpt = None,
) -> None:
    """Renders photos of a room that exists only as formulas, reconstructs them and scores the result."""
    from depthrf.demo.photos import write_demo

    photos = output / "photos"
    if not (output / "ground_truth" / "transforms.json").exists():
        if output.exists() and any(output.iterdir()):
            raise UsageError(f"{output} already exists and holds no demo. Give a new or empty folder with -o.")
        console.note(f"rendering the demo room's photos into {photos}")
        _writable(lambda: write_demo(output), output)
    changes = pipeline.merge_tables(
        _given({"ingest": {"photos": photos}, "train": {"optimiser": {"steps": steps}}}),
        pipeline.assignments(settings or []),
    )
    plan = _plan(preset, changes, device)
    workspace = create_workspace(output / "workspace", photos)
    _reconstruct(workspace, plan, pipeline.STAGES, force=False)
    _evaluate(workspace, {"photos": output / "held_out", "device": device}, force=False)
    typer.echo(workspace.video)


@app.command()
def check(
    photos: PhotosArg,
    report: Annotated[Path | None, typer.Option("--json", help="Also write everything found to this file.")] = None,
    masks: MasksOpt = None,
    frames: FramesOpt = None,
) -> None:
    """Will these photos do? Looks at each one and at what they share, in seconds; exit code 1 when they will not."""
    from depthrf.stages import check

    _check_source(photos)
    checked = check.run(photos, **_given({"masks": masks, "frames": frames}))
    if report is not None:
        _writable(lambda: check.write_json_report(report, checked), report)
    found = checked.report
    colour = {"green": typer.colors.GREEN, "amber": typer.colors.YELLOW, "red": typer.colors.RED}[found.verdict]
    typer.secho(found.verdict, fg=colour, bold=True, nl=False)
    typer.echo(f": {found.summary} {found.advice}")
    if found.verdict == "red":
        sys.exit(1)


@app.command()
def evaluate(
    workspace: WorkspaceArg,
    photos: Annotated[
        Path | None, typer.Option(help="Further photos of the scene: registered to the model, then scored.")
    ] = None,
    leave_one_out: Annotated[
        bool,
        typer.Option("--leave-one-out", help="Score each photo with a short training run without it (3-9 photos)."),
    ] = False,
    steps: Annotated[
        int | None, typer.Option(help="Steps of each leave-one-out run (default: a quarter of the field's).")
    ] = None,
    lpips: Annotated[str, typer.Option(help="Features of LPIPS: alex, vgg or none.")] = "alex",
    device: DeviceOpt = "auto",
    force: ForceOpt = False,
) -> None:
    """Scores the trained field on held-out views: PSNR, SSIM, LPIPS and depth errors."""
    if photos is not None:
        _check_folder(photos)
    opened = open_workspace(workspace)
    changes = {"photos": photos, "leave_one_out": leave_one_out, "steps": steps, "lpips": lpips, "device": device}
    _evaluate(opened, changes, force)
    typer.echo(opened.evaluation)


@app.command()
def export(
    workspace: WorkspaceArg,
    what: Annotated[str, typer.Option(help="What to write: pointcloud.")] = "pointcloud",
    units: Annotated[str, typer.Option(help="scene (as in transforms.json) or metres.")] = "scene",
    max_sigma: Annotated[float, typer.Option(help="Depth less sure than this share of itself is left out.")] = 0.05,
    spacing: Annotated[float, typer.Option(help="Distance between points; 0: by the photos' resolution.")] = 0.0,
    force: ForceOpt = False,
) -> None:
    """Writes the merged depth of all photos as one coloured point cloud (PLY)."""
    from depthrf.stages.export import Options, cloud_path

    opened = open_workspace(workspace)
    given = {"what": what, "units": units, "max_sigma": max_sigma, "spacing": spacing}
    with lock(opened):
        pipeline.run_stage(opened, "export", build(Options, given, "the command line"), force=force)
    typer.echo(cloud_path(opened))


@app.command()
def bench(
    scene: Annotated[
        Path,
        typer.Argument(help="A nerf_synthetic scene: a folder, or its name below $DEPTHRF_DATA.", show_default=False),
    ],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Results (default: bench-SCENE-FIELD).")] = None,
    views: Annotated[str | None, typer.Option(help="Numbers of training views (default: 3,6,100).")] = None,
    ids: Annotated[
        str | None,
        typer.Option(help="Which training views, by number, e.g. 26,86,2,55,75,93,16,73 (default: the first)."),
    ] = None,
    losses: Annotated[
        str | None, typer.Option(help=f"Depth losses (default: none,l2,urf,ds_nerf,cdf) of {_LOSSES}.")
    ] = None,
    field: Annotated[str, typer.Option(help="hash, or mlp: the published network.")] = "hash",
    size: Annotated[int | None, typer.Option(help="Side of the pictures in pixels (default: 400).")] = None,
    scales: Annotated[
        int | None, typer.Option(help="Sizes to score and train on: 4 adds 1/2, 1/4 and 1/8 (default: 1).")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Training steps (default: the field's).")] = None,
    batch_rays: Annotated[int | None, typer.Option(help="Rays per step (default: the field's).")] = None,
    test_every: Annotated[int | None, typer.Option(help="Score every n-th test view (default: 1, all).")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of initialisation and sampling.")] = None,
    device: DeviceOpt = "auto",
    force: ForceOpt = False,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Any other option, e.g. optimiser.rate=2e-3; repeatable.")
    ] = None,
) -> None:
    """Trains on a NeRF synthetic scene by the published protocol and prints the published numbers beside ours."""
    from depthrf.bench import blender, protocol, tables
    from depthrf.options import build

    if field not in protocol.PRESETS:
        raise UsageError(f"--field should be one of {', '.join(protocol.PRESETS)}; found {field!r}")
    views = views or (str(len(ids.split(","))) if ids else None)
    flags = {
        "views": views,
        "ids": ids,
        "losses": losses,
        "size": size,
        "scales": scales,
        "test_every": test_every,
        "seed": seed,
    }
    changes = _given({**flags, "device": device, "optimiser": {"steps": steps, "batch_rays": batch_rays}})
    merged = pipeline.merge_tables(protocol.SHARED, protocol.PRESETS[field])
    for table in (changes, pipeline.assignments(settings or [])):
        merged = pipeline.merge_tables(merged, table)
    folder = output or Path(f"bench-{scene.name}-{field}")
    results = blender.run(_scene(scene), folder, build(protocol.Options, merged, "the command line"), force=force)
    tables.print_results(scene.name, results)
    typer.echo(folder)


def _scene(scene: Path) -> Path:
    """The scene's folder: as given, or below the folder of evaluation data."""
    data = Path(os.environ.get("DEPTHRF_DATA", "")) / scene
    if scene.is_dir() or not data.is_dir():
        _check_folder(scene)
        return scene
    return data


@app.command()
def ingest(
    photos: PhotosArg,
    output: OutputOpt = None,
    sensor_depth: SensorDepthOpt = None,
    depth_unit: DepthUnitOpt = None,
    depth_camera: DepthCameraOpt = None,
    export_poses: ExportPosesOpt = None,
    max_photos: MaxPhotosOpt = None,
    masks: MasksOpt = None,
    frames: FramesOpt = None,
    holdout: HoldoutOpt = None,
    force: ForceOpt = False,
) -> None:
    """Stage 1: checks the photos (or picks a video's best frames) and copies them, upright, into a workspace."""
    _check_source(photos)
    workspace = create_workspace(output or _default_output(photos), photos)
    given = {
        "photos": photos,
        "sensor_depth": sensor_depth,
        "depth_unit": depth_unit,
        "depth_camera": depth_camera,
        "export_poses": export_poses,
        "max_photos": max_photos,
        "masks": masks,
        "frames": frames,
        "holdout": holdout,
    }
    changes = _given({"ingest": given})
    _run_single(workspace, "ingest", None, changes, "auto", force)


_STAGE_HELP = {
    "sfm": "Stage 2: camera poses and sparse points (pycolmap), undistorted photos.",
    "depth": "Stage 3: dense depth of each photo: by a network where its weights are there, else by stereo.",
    "align": "Stage 4: scale and shift of each monocular depth map, fitted to the keypoints.",
    "merge": "Stage 5: the depth prior: sensor depth, aligned monocular depth and keypoints.",
    "train": "Stage 6: trains the radiance field.",
    "render": "Stage 7: renders a camera path to a video.",
}


def _stage_command(stage: str) -> Callable[..., None]:
    """A command whose flags are the plain fields of the stage's ``Options``; groups are reached with --set."""
    flags_of = _flags(pipeline.stage_module(stage).Options)

    def command(workspace: Path, preset: str | None, force: bool, settings: list[str] | None, **flags: Any) -> None:
        nested = {stage: pipeline.assignments(settings or [])}
        device = flags.pop("device", None) or "auto"
        changes: dict[str, Any] = {}
        for name, value in flags.items():
            if value is not None:
                for key in reversed((stage, *flags_of[name][0])):
                    value = {key: value}
                changes = pipeline.merge_tables(changes, value)
        changes = pipeline.merge_tables(changes, nested)
        _run_single(open_workspace(workspace), stage, preset, changes, device, force)

    def parameter(name: str, annotation: Any, default: Any = None) -> inspect.Parameter:
        return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)

    parameters = [parameter("workspace", WorkspaceArg, inspect.Parameter.empty), parameter("preset", PipelineOpt)]
    for name, (_, field, hint) in flags_of.items():
        choices = f" ({', '.join(field.metadata['choices'])})" if field.metadata["choices"] else ""
        text = f"{field.metadata['help']}{choices}; default {field.default}"
        kind = hint if hint in (int, float, bool, Path) else str
        flag = f"--{name.replace('_', '-')}"
        declared = f"{flag}/--no-{flag[2:]}" if kind is bool else flag
        parameters.append(parameter(name, Annotated[kind | None, typer.Option(declared, help=text)]))
    parameters += [parameter("force", ForceOpt, False), parameter("settings", SetOpt)]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return command


def _flags(group: type) -> dict[str, tuple[tuple[str, ...], dataclasses.Field[Any], Any]]:
    """Path, field and type of the options of a dataclass that are flags, by the flag's name."""
    flags: dict[str, tuple[tuple[str, ...], dataclasses.Field[Any], Any]] = {}
    hints = typing.get_type_hints(group)
    for field in dataclasses.fields(group):
        hint = hints[field.name]
        if not dataclasses.is_dataclass(hint):
            flags[field.name] = ((field.name,), field, hint)
        elif isinstance(hint, type):
            inner = _flags(hint).items()
            flags |= {k: ((field.name, *path), f, h) for k, (path, f, h) in inner if f.metadata["flag"]}
    return flags


for _stage, _help in _STAGE_HELP.items():
    app.command(_stage, help=_help)(_stage_command(_stage))


@app.command()
def doctor(
    folder: Annotated[Path, typer.Argument(help="Where the workspace would be.")] = Path(),
) -> None:
    """Looks at what this machine has and says what to do about what it lacks; exit code 1 if depthrf cannot run."""
    from rich.table import Table

    from depthrf.doctor import examine

    findings = examine(folder)
    table = Table(box=None, show_header=False, pad_edge=False)
    for f in findings:
        mark = "[green]ok[/]" if f.fix is None else "[red]error[/]" if f.required else "[yellow]warning[/]"
        table.add_row(mark, f.what, f.found.replace("[", "\\[") + (f"\n-> {f.fix}" if f.fix else ""))
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
    _writable(lambda: folder.mkdir(parents=True, exist_ok=True), folder)
    return folder


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"depthrf {__version__}")
        raise typer.Exit


# Shared steps


def _given(tables: dict[str, Any]) -> dict[str, Any]:
    """The tables without what was not given (None)."""
    result = {}
    for key, value in tables.items():
        if isinstance(value, dict):
            result[key] = _given(value)
        elif value is not None:
            result[key] = value
    return result


def _check_source(photos: Path) -> None:
    from depthrf.io.clip import check_source

    check_source(photos)


def _check_folder(photos: Path) -> None:
    if not photos.exists():
        raise UsageError(f"No such folder: {photos}")
    if not photos.is_dir():
        raise UsageError(f"{photos} is a file; expected a folder of photos.")


def _default_output(photos: Path) -> Path:
    resolved = photos.absolute().resolve()
    return Path(f"{resolved.name if resolved.is_dir() else resolved.stem}-depthrf")


def _writable(work: Callable[[], Any], output: Path) -> None:
    try:
        work()
    except OSError as e:
        raise UsageError(f"Cannot write to {output}: {e.strerror}. Choose another folder with -o.") from e


def _plan(preset: str | None, changes: dict[str, Any], device: str) -> pipeline.Plan:
    """Stage options of a preset (picked by machine when None) with the command line's changes over it."""
    if preset is None:
        preset = "default" if device == "cuda" or (device == "auto" and has_cuda_driver()) else "cpu"
        console.note(f"pipeline: {preset} (choose another with --pipeline)")
    tables = pipeline.merge_tables(pipeline.load_pipeline(preset), changes)
    return _on_device(pipeline.make_plan(tables, f"pipeline {preset} and the command line"), device)


def _on_device(plan: pipeline.Plan, device: str) -> pipeline.Plan:
    if device not in CHOICES:
        raise UsageError(f"--device should be one of {', '.join(CHOICES)}; found {device!r}")
    with_device = (name for name, options in plan.items() if hasattr(options, "device"))
    return plan | {name: dataclasses.replace(plan[name], device=device) for name in with_device}


def _reconstruct(workspace: Workspace, plan: pipeline.Plan, stages: tuple[str, ...], force: bool) -> None:
    with lock(workspace):
        pipeline.save_plan(workspace, plan)
        console.note(f"workspace: {workspace.root}")
        pipeline.run_stages(workspace, plan, stages, force=force)


def _run_single(
    workspace: Workspace, stage: str, preset: str | None, changes: dict[str, Any], device: str, force: bool
) -> None:
    """Runs one stage with the workspace's saved options (or a preset) and the flags over them."""
    tables = pipeline.load_pipeline(preset) if preset else pipeline.saved_tables(workspace)
    plan = pipeline.make_plan(pipeline.merge_tables(tables, changes), "the saved options and the command line")
    writing = lock(workspace) if distributed.is_first() else contextlib.nullcontext()
    with distributed.connected(device), writing:
        pipeline.run_stage(workspace, stage, _on_device(plan, device)[stage], force=force)


def _evaluate(workspace: Workspace, values: dict[str, Any], force: bool) -> None:
    from depthrf.options import build
    from depthrf.stages.evaluate import Options

    options = build(Options, _given(values), "the command line")
    if options.photos is not None:
        options = dataclasses.replace(options, photos=options.photos.absolute())
    with lock(workspace):
        pipeline.run_stage(workspace, "evaluate", options, force=force)


_SYSTEM_LIBRARIES = {
    "libGL.so": "libgl1",
    "libEGL.so": "libegl1",
    "libX11.so": "libx11-6",
    "libgthread": "libglib2.0-0",
    "libglib": "libglib2.0-0",
    "libgomp": "libgomp1",
    "libusb": "libusb-1.0-0",
}


def main() -> None:
    """Entry point of the ``depthrf`` command."""
    # By default OpenMP threads spin while they wait, which on a shared machine takes the cores from those that work.
    # Read when torch loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app(standalone_mode=False)
    except DepthrfError as e:
        _fail(str(e), e.exit_code)
    except KeyboardInterrupt:
        _fail("Interrupted. Run the same command again to go on.", 130)
    except ImportError as e:
        package = next((deb for name, deb in _SYSTEM_LIBRARIES.items() if name in str(e)), None)
        if package is None:
            raise
        _fail(f"A system library is missing: {e}. On Debian or Ubuntu: apt-get install {package}", 1)
    except typer.Abort:
        _fail("Interrupted. Run the same command again to go on.", 130)
    except Exception as e:
        if not hasattr(e, "format_message"):  # not a message of the argument parser
            raise
        _fail(e.format_message(), 2)


def _fail(message: str, code: int) -> None:
    from rich.text import Text

    console.console().print(Text.assemble(("error: ", "bold red"), message))
    sys.exit(code)
