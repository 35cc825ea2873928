"""The command `batch`: many scenes, each with the flags of `reconstruct`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from depthrf import console, options, pipeline
from depthrf.cli.flags import one_of, tables, with_flags
from depthrf.cli.runs import RECONSTRUCT
from depthrf.cli.shared import (
    DeviceOpt,
    DryRunOpt,
    JsonOpt,
    PipelineOpt,
    SetOpt,
    UntilOpt,
    check_values,
    print_json,
    print_table,
    writable,
)
from depthrf.device import has_cuda_driver
from depthrf.freshness import foresee
from depthrf.planning import make_plan
from depthrf.workspace import Workspace

if TYPE_CHECKING:
    from depthrf.batch.scenes import Scene

ENGINES = ("local", "ray")


@with_flags(RECONSTRUCT)
def batch(
    scenes: Annotated[
        list[str],
        typer.Argument(help="Photo folders, videos, patterns, or .txt files that name one a line.", show_default=False),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder of all workspaces, logs and batch.json.")
    ] = Path("depthrf-batch"),
    engine: Annotated[
        str, typer.Option(**one_of("--engine", ENGINES), help="Processes here, or the cluster of $RAY_ADDRESS.")
    ] = "local",
    cpus_per_scene: Annotated[int, typer.Option(min=1, max=1024, help="Cores of a scene.")] = 2,
    gpus_per_scene: Annotated[
        int | None, typer.Option(min=0, max=64, help="GPUs of a scene (default: 1 where there are any).")
    ] = None,
    last: UntilOpt = None,
    retries: Annotated[int, typer.Option(min=0, max=100, help="How often a scene that was killed goes on.")] = 2,
    preset: PipelineOpt = None,
    device: DeviceOpt = None,
    settings: SetOpt = None,
    *,
    dry_run: DryRunOpt = False,
    as_json: JsonOpt = False,
    **values: Any,
) -> None:
    """Reconstructs many scenes; one that fails does not stop the rest. The exit code is 1 if any failed."""
    from depthrf.batch import engines, summary
    from depthrf.batch.scenes import find_scenes

    given = pipeline.merge_tables(tables(RECONSTRUCT, values), pipeline.assignments(settings or []))
    check_values(given)
    found = find_scenes(scenes, output)
    if dry_run:
        console.set_volume(quiet=True)  # each scene would name its preset
        why = {scene.name: _foreseen(scene, given, preset, device, last) for scene in found}
        if as_json:
            print_json(why)
        else:
            print_table(("scene", "runs", "why"), [_foreseen_row(name, reasons) for name, reasons in why.items()])
        return
    work = engines.Work(
        _arguments(given, preset, device, last),
        evaluate=last is None and bool(given.get("ingest", {}).get("holdout")),
        cpus=cpus_per_scene,
        gpus=gpus_per_scene,
        retries=retries,
    )
    writable(lambda: output.mkdir(parents=True, exist_ok=True), output)
    running = engines.run_on_ray(found, work) if engine == "ray" else engines.run_locally(found, work, _num_gpus())
    outcomes = []
    for outcome in running:
        outcomes.append(outcome)
        summary.write_summary(output / "batch.json", outcomes)
    console.note(summary.sentence(outcomes))
    if as_json:
        print_json(outcomes)
    else:
        print_table(summary.HEADING, summary.rows(outcomes))
    if any(outcome.verdict != "done" for outcome in outcomes):
        sys.exit(1)


def _foreseen(
    scene: Scene, given: dict[str, Any], preset: str | None, device: str | None, last: str | None
) -> dict[str, tuple[str, ...]]:
    """Why each stage of a scene would run."""
    changes = pipeline.merge_tables(given, {"ingest": {"photos": scene.photos}})
    plan = make_plan(preset, changes, device, folders=(scene.photos, scene.workspace))
    return foresee(Workspace(scene.workspace), plan, pipeline.select(None, last))


def _foreseen_row(name: str, why: dict[str, tuple[str, ...]]) -> tuple[str, str, str]:
    running = {stage: reasons for stage, reasons in why.items() if reasons}
    first = "; ".join(next(iter(running.values()), ()))
    return name, ", ".join(running) or "nothing", first


def _num_gpus() -> int:
    """GPUs of this machine; torch, which is slow to load, is asked only where there is a driver."""
    if not has_cuda_driver():
        return 0
    import torch

    return torch.cuda.device_count()


def _arguments(given: dict[str, Any], preset: str | None, device: str | None, last: str | None) -> tuple[str, ...]:
    """Options of the batch as arguments of `reconstruct` that mean the same from any folder."""
    leaves = options.leaves(given)
    arguments = [part for path, value in leaves.items() for part in ("--set", f"{path}={_from_anywhere(value)}")]
    if preset is not None:
        is_file = preset.endswith(".toml")
        arguments += ["--pipeline", str(Path(preset).absolute()) if is_file else preset]
    arguments += ["--device", device] if device is not None else []
    arguments += ["--until", last] if last is not None else []
    arguments += ["--verbose"] if console.is_verbose() else []
    return tuple(arguments)


def _from_anywhere(value: Any) -> str:
    return str(value.absolute()) if isinstance(value, Path) else options.as_text(value)
