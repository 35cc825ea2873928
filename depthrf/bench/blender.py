"""The NeRF synthetic protocol: few views with exact depth, one cell a pair of view count and depth loss.

Each cell trains a field on the first views of ``transforms_train.json``, scores it on ``transforms_test.json`` and
writes ``<cell>.json`` and a picture; a cell that is there with the same settings is not run again, and an interrupted
one goes on at its last checkpoint. With ``scales`` > 1 every test view is also scored at 1/2, 1/4, ... of its size, and
each cell is trained twice: on full-size pictures only (``single``), and on all sizes at once (``multi``).
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthrf import console, device
from depthrf.bench.protocol import Cell, Options, Result, ScaleScore, cells
from depthrf.bench.scene import load_store, normalised, scaled_camera, score
from depthrf.errors import DepthrfError, UsageError
from depthrf.io import blender
from depthrf.options import identity
from depthrf.workspace import read_json, write_json

if TYPE_CHECKING:
    import torch

    from depthrf.bench.multi_scale import MultiScaleStore
    from depthrf.io.blender import BlenderFrame
    from depthrf.io.trained_field import TrainedField

_CHECKPOINT_STEPS = 2000


def run(scene: Path, folder: Path, options: Options, *, force: bool = False) -> list[Result]:
    """Trains and scores all cells that are not in ``folder`` yet.

    Raises:
        UsageError: ``scene`` is no scene, an option is wrong, or ``folder`` holds results of other settings.
    """
    todo = cells(options)
    train, test = blender.read_split(scene, "train"), blender.read_split(scene, "test")[:: options.test_every]
    chosen = {count: blender.choose(train, _ids(options, count)) for count in options.views}
    side = max(train[0].view.camera.width, train[0].view.camera.height)
    if options.size > side:
        raise UsageError(f"The pictures of {scene} are {side} pixels wide; --size {options.size} would enlarge them.")
    results = [] if force else [_finished(folder, cell, _settings(scene, cell, options)) for cell in todo]
    folder.mkdir(parents=True, exist_ok=True)
    target = device.resolve(options.device)
    done = []
    for index, cell in enumerate(todo):
        result = results[index] if results else None
        if result is None:
            console.note(f"{cell.name} ({index + 1} of {len(todo)})")
            result = _run_cell(folder, cell, chosen[cell.views], test, options, target, scene, force=force)
            write_json(folder / f"{cell.name}.json", result)
        else:
            console.note(f"{cell.name}: nothing to do")
        done.append(result)
        console.note(
            "  " + ", ".join(f"{s.size}x{s.size}: {s.psnr:.2f} dB, SSIM {s.ssim:.3f}" for s in done[-1].scores)
        )
    return done


def _ids(options: Options, count: int) -> list[int]:
    if options.ids and count > len(options.ids):
        raise UsageError(f"--ids names {len(options.ids)} views; --views asks for {count}.")
    return list(options.ids[:count] or range(count))


def _settings(scene: Path, cell: Cell, options: Options) -> dict[str, Any]:
    common = {k: v for k, v in identity(options).items() if k not in ("views", "losses")}
    return json.loads(json.dumps({"scene": scene.name, **asdict(cell), **common}))  # type: ignore[no-any-return]


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
    return Result(**{**found, "cell": Cell(**found["cell"]), "scores": scores})


def _run_cell(
    folder: Path,
    cell: Cell,
    train: list[BlenderFrame],
    test: list[BlenderFrame],
    options: Options,
    target: torch.device,
    scene: Path,
    *,
    force: bool,
) -> Result:
    settings = _settings(scene, cell, options)
    num_scales = options.scales if cell.training == "multi" else 1
    store = load_store([scaled_camera(train[0], options.size, k) for k in range(num_scales)], train, target)
    key = json.dumps(settings)
    field, num_rays, seconds = _train(folder / f"{cell.name}.pt", cell, store, options, target, key, force=force)
    start = time.monotonic()
    scores = score(folder / f"{cell.name}.png", field, test, options)
    return Result(
        cell=cell,
        view_names=[f.view.stem for f in train],
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
    checkpoint: Path,
    cell: Cell,
    store: MultiScaleStore,
    options: Options,
    target: torch.device,
    key: str,
    *,
    force: bool,
) -> tuple[TrainedField, int, float]:
    """The trained field, the rays and the seconds it took, going on from an interrupted run of the same key.

    ``force``: a field that is trained already is trained again.
    """
    from depthrf.io import trained_field
    from depthrf.nerf.memory import advance, fit_memory
    from depthrf.nerf.training import prepare

    losses = replace(options.loss, depth=cell.loss)
    parts = options.model, losses, options.few, options.optimiser
    trainer = prepare(store, *parts, seed=options.seed, device=target)
    model = trainer.shown
    field = trained_field.TrainedField(model, *normalised(), options.size)
    seconds = 0.0
    state: dict[str, Any] = trained_field.read(checkpoint, target) if checkpoint.is_file() else {"key": None}
    if state["key"] == key and state["step"] < trainer.total:
        trainer.restore(state)
        seconds = float(state["seconds"])
        console.note(f"  going on from step {trainer.step}")
    elif state["key"] == key and not force:  # interrupted while it was scored
        trainer.step = trainer.total
        return trained_field.load_field(checkpoint, target), trainer.num_rays, float(state["seconds"])
    fit_memory(trainer, store, device.free_memory(target), console.note)
    start, total = time.monotonic() - seconds, trainer.total
    with console.progress() as display:
        task = display.add_task("train", total=total, completed=trainer.step, info="")
        while trainer.step < total:
            result = advance(trainer, store, console.warn)
            display.update(task, completed=trainer.step)
            if trainer.step % 50 == 0 or trainer.step == total:
                if trainer.diverged(skipped := int(result.skipped)):
                    first = trainer.step - skipped + 1
                    raise DepthrfError(f"The loss has not been finite since step {first}. Lower --set optimiser.rate.")
                display.update(task, info=f"psnr {float(result.psnr):.1f} dB")
            if trainer.step % _CHECKPOINT_STEPS == 0 or trainer.step == total:
                trained_field.save(checkpoint, trainer, field, key=key, seconds=time.monotonic() - start)
    model.eval()
    return field, trainer.num_rays, time.monotonic() - start
