"""The NeRF synthetic protocol: training views with exact depth, one cell for each number of views and depth loss.

Each cell trains a field on some views of ``transforms_train.json`` and scores it on ``transforms_test.json``. It writes
``<cell>.json``, a picture, a checkpoint and its metrics. A cell that is finished with the same settings is not run
again, and an interrupted one resumes at its last checkpoint.

With ``scales`` > 1, every test view is also scored at 1/2, 1/4, ... of its size. Each cell is then trained twice: on
full-size pictures only (``single``), and on all sizes at once (``multi``).
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthrf import console, device
from depthrf.bench.protocol import Cell, Options, Result, ScaleScore, cells
from depthrf.bench.scene import load_store, normalised, scaled_camera, score_views
from depthrf.bench.view_sets import view_sets
from depthrf.errors import UsageError
from depthrf.io.poses import blender
from depthrf.options import identity
from depthrf.stages.training.files import Recovery, TrainingFiles
from depthrf.stages.training.loop import Cadence, train
from depthrf.storage import read_json, write_json

if TYPE_CHECKING:
    import torch

    from depthrf.bench.multi_scale import MultiScaleStore
    from depthrf.io.poses.blender import BlenderFrame
    from depthrf.io.trained_field import TrainedField

_CHECKPOINT_STEPS = 2000
_LEAST_RATE_FACTOR = 1.0  # a lower learning rate would be another setting than the one that is reported


def run(scene: Path, folder: Path, options: Options, *, force: bool = False) -> list[Result]:
    """Trains and scores all cells that are not in ``folder`` yet.

    Raises:
        UsageError: ``scene`` is no scene, an option is wrong, or ``folder`` holds results of other settings.
    """
    frames = blender.read_split(scene, "train")
    test = blender.read_split(scene, "test")[:: options.test_every]
    sets = view_sets(options.views, len(frames), options.seed)
    todo, ids = cells(options, sets), {s.name: s.ids for s in sets}
    side = max(frames[0].view.camera.width, frames[0].view.camera.height)
    if options.size > side:
        raise UsageError(f"The pictures of {scene} are {side} pixels wide; --size {options.size} would enlarge them.")
    settings = [_settings(scene, cell, ids[cell.views], options) for cell in todo]
    results = [] if force else [_finished(folder, *known) for known in zip(todo, settings, strict=True)]
    folder.mkdir(parents=True, exist_ok=True)
    target = device.resolve(options.device)
    done = []
    for index, cell in enumerate(todo):
        result = results[index] if results else None
        if result is None:
            console.note(f"{cell.name} ({index + 1} of {len(todo)})")
            views = [frames[i] for i in ids[cell.views]]
            result = _run_cell(folder, cell, views, test, options, target, settings[index], force=force)
            write_json(folder / f"{cell.name}.json", result)
        else:
            console.note(f"{cell.name}: nothing to do")
        done.append(result)
        scores = [f"{score.size}x{score.size}: {score.psnr:.2f} dB, SSIM {score.ssim:.3f}" for score in result.scores]
        console.note("  " + ", ".join(scores))
    return done


def _settings(scene: Path, cell: Cell, ids: Sequence[int], options: Options) -> dict[str, Any]:
    common = {k: v for k, v in identity(options).items() if k not in ("views", "losses")}
    own = {k: v for k, v in asdict(cell).items() if k != "group"}  # two groups may share a draw
    return json.loads(json.dumps({"scene": scene.name, **own, "ids": ids, **common}))  # type: ignore[no-any-return]


def _finished(folder: Path, cell: Cell, settings: dict[str, Any]) -> Result | None:
    """The cell's result if it is there.

    Raises:
        UsageError: It is there with other settings.
    """
    path = folder / f"{cell.name}.json"
    if not path.is_file():
        return None
    found = read_json(path)
    if found.get("settings") != settings or found.keys() != {f.name for f in fields(Result)}:
        before = found.get("settings") or {}
        differing = ", ".join(sorted(k for k in settings if settings[k] != before.get(k))) or "the format"
        raise UsageError(
            f"{path} is the result of other settings ({differing}). Give another folder with -o, or --force."
        )
    scores = [ScaleScore(**s) for s in found["scores"]]
    return Result(**{**found, "cell": cell, "scores": scores})


def _run_cell(
    folder: Path,
    cell: Cell,
    views: list[BlenderFrame],
    test: list[BlenderFrame],
    options: Options,
    target: torch.device,
    settings: dict[str, Any],
    *,
    force: bool,
) -> Result:
    num_scales = options.scales if cell.training == "multi" else 1
    cameras = [scaled_camera(views[0], options.size, scale) for scale in range(num_scales)]
    store = load_store(cameras, views, target)
    field, num_rays, seconds = _train(folder, cell, store, options, target, json.dumps(settings), force=force)
    start = time.monotonic()
    scores = score_views(folder / f"{cell.name}.png", field, test, options)
    return Result(
        cell=cell,
        view_names=[frame.view.stem for frame in views],
        num_test=len(test),
        scores=scores,
        steps=options.optimiser.steps,
        num_rays=num_rays,
        train_seconds=round(seconds, 1),
        test_seconds=round(time.monotonic() - start, 1),
        rays_per_second=round(num_rays / max(seconds, 1e-9)),
        device=str(target),
        settings=settings,
    )


def _train(
    folder: Path,
    cell: Cell,
    store: MultiScaleStore,
    options: Options,
    target: torch.device,
    key: str,
    *,
    force: bool,
) -> tuple[TrainedField, int, float]:
    """The trained field, the rays and the seconds that it took; a run of the same key is gone on from.

    ``force``: a field that is trained already is trained again.
    """
    from depthrf.io import trained_field
    from depthrf.nerf.training.loop import prepare
    from depthrf.nerf.training.memory import fit_memory

    losses = replace(options.loss, depth=cell.loss)
    parts = options.model, losses, options.few_photos, options.optimiser
    trainer = prepare(store, *parts, seed=options.seed, device=target)
    field = trained_field.TrainedField(trainer.eval_model, *normalised(), options.size)
    fit_memory(trainer, store, device.free_memory(target), console.note)
    files = TrainingFiles(
        folder / f"{cell.name}.pt",
        folder / f"{cell.name}.jsonl",
        trainer,
        field,
        key=key,
        keep_finished=not force,
        recovery=Recovery(_LEAST_RATE_FACTOR, "optimiser.rate"),
    )
    if files.finished:  # and interrupted while it was scored
        return trained_field.load_field(files.checkpoint, target), trainer.num_rays, files.elapsed
    train(trainer, store, files, Cadence(checkpoint_steps=_CHECKPOINT_STEPS))
    field.model.eval()
    return field, trainer.num_rays, files.elapsed
