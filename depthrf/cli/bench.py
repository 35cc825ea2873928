"""The bench commands: published protocols, with the published numbers beside ours."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from depthrf import console, pipeline
from depthrf.bench import llff_protocol, presets, protocol
from depthrf.cli.flags import group_flags, one_of, pipeline_flags, with_flags
from depthrf.cli.flags import tables as given_tables
from depthrf.cli.help import GroupedCommands, GroupedHelp, with_common_flags
from depthrf.cli.shared import DeviceOpt, ForceOpt, JsonOpt, PipelineOpt, check_folder, print_json
from depthrf.options import build
from depthrf.planning import make_plan

_SHORT = "synthetic"


class SceneFirst(GroupedCommands):
    """``bench SCENE`` stands for ``bench synthetic SCENE``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        named = args and (args[0] in self.commands or args[0] in self.get_help_option_names(ctx))
        return super().parse_args(ctx, args if named or not args else [_SHORT, *args])


app = typer.Typer(
    cls=SceneFirst,
    help="Trains by a published protocol and prints the published numbers beside ours. "
    "`bench SCENE` is short for `bench synthetic SCENE`.",
    no_args_is_help=True,
)

SYNTHETIC = group_flags(
    protocol.Options, defaults=dict.fromkeys(("optimiser.steps", "optimiser.batch_rays"), "the field's")
)
LLFF = group_flags(llff_protocol.Options) | pipeline_flags({"steps": "train.optimiser.steps", "seed": "train.seed"})


@app.command(_SHORT, cls=GroupedHelp)
@with_common_flags
@with_flags(SYNTHETIC)
def synthetic(
    scene: Annotated[
        Path,
        typer.Argument(help="A nerf_synthetic scene: a folder, or its name below $DEPTHRF_DATA.", show_default=False),
    ],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Results (default: bench-SCENE-FIELD).")] = None,
    field: Annotated[
        str, typer.Option(**one_of("--field", presets.names()), help="mlp is the published network.")
    ] = "hash",
    protocol_name: Annotated[
        str | None,
        typer.Option(
            "--protocol",
            **one_of("--protocol", presets.protocols()),
            help="standard-8: the split of few-view methods; random: ten random triples and ten sextuples.",
            show_default=False,
        ),
    ] = None,
    *,
    force: ForceOpt = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any other option, e.g. optimiser.rate=2e-3; repeatable."),
    ] = None,
    as_json: JsonOpt = False,
    **values: Any,
) -> None:
    """A NeRF synthetic scene: training views with exact depth."""
    from depthrf.bench import blender, tables

    given = pipeline.merge_tables(given_tables(SYNTHETIC, values), pipeline.assignments(settings or []))
    options = presets.load(field, given, "the command line", protocol=protocol_name)
    folder = output or Path("-".join(filter(None, ["bench", scene.name, field, protocol_name])))
    results = blender.run(_scene(scene), folder, options, force=force)
    if as_json:
        print_json(results)
        return
    tables.print_results(scene.name, results)
    console.result(folder)


@app.command("llff", cls=GroupedHelp)
@with_common_flags
@with_flags(LLFF)
def llff(
    folder: Annotated[
        Path,
        typer.Argument(
            help="An LLFF scene (poses_bounds.npy, images_8 or images_4), or a folder of them.", show_default=False
        ),
    ],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Results (default: bench-FOLDER).")] = None,
    preset: PipelineOpt = None,
    *,
    device: DeviceOpt = None,
    force: ForceOpt = False,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Any option of a stage, e.g. train.optimiser.batch_rays=2048; repeatable.",
        ),
    ] = None,
    as_json: JsonOpt = False,
    **values: Any,
) -> None:
    """LLFF scenes: every 8th photo held out, 3, 6 or 9 of the others train, poses given.

    The depth prior is made as for any photos: keypoints and stereo of the training photos.
    """
    from depthrf.bench import llff as runner
    from depthrf.bench import llff_table

    check_folder(folder)
    given = given_tables(LLFF, values)
    own = {name: given.pop(name) for name in llff_protocol.Options.__dataclass_fields__ if name in given}
    options = build(llff_protocol.Options, own, "the command line")
    plan = make_plan(preset, pipeline.merge_tables(given, pipeline.assignments(settings or [])), device)
    out = output or Path(f"bench-{folder.absolute().name}")
    results = runner.run(folder.absolute(), out, options, plan, force=force)
    if as_json:
        print_json(results)
        return
    llff_table.print_results(results)
    console.result(out)


def _scene(scene: Path) -> Path:
    """The scene's folder: as given, or below the folder of evaluation data."""
    data = Path(os.environ.get("DEPTHRF_DATA", "")) / scene
    if scene.is_dir() or not data.is_dir():
        check_folder(scene)
        return scene
    return data
