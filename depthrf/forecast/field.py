"""What training the field and rendering the film will take, tried with the real model on a few steps and pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from depthrf.forecast.cost import Cost
from depthrf.forecast.stopwatch import trial
from depthrf.forecast.work import Work
from depthrf.options import seconds_of
from depthrf.stages.filming.options import CODECS, FRAME_BYTES

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from depthrf.geometry.camera import Camera
    from depthrf.nerf.rays.pixel_store import PixelStore
    from depthrf.nerf.training.loop import Trainer
    from depthrf.stages.filming.options import Options as FilmOptions
    from depthrf.stages.train import Options as TrainOptions

_PHOTOS, _STEPS, _TILE = 3, 4, 96
_DEPTH, _RANGE = 2.0, (0.5, 8.0)

_TRAINED = 0.44
"""Time of a film's pixel in a trained field as a share of an untrained field's: rays end at surfaces, and pixels
between equal ones are interpolated."""

_PREFLIGHT = 14 * 160 * 120
"""Pixels of the thumbnails that are looked at before a film."""

_ENCODED = 8


@dataclass(frozen=True)
class Pace:
    """Seconds before the first step, and of a step on average over the run. memory_mb: Peak while training."""

    start: float
    step: float
    memory_mb: float | None

    def steps_in(self, seconds: float) -> int:
        """Steps that fit into a time budget."""
        from depthrf.nerf.training.schedule import StepBudget

        return max(1, int(max(0.0, seconds - self.start) * (1.0 - StepBudget.OVERHEAD) / self.step))


def try_training(work: Work, options: TrainOptions) -> tuple[Pace, Trainer]:
    """Some steps with the real model and batch, on a few photos whose depth is made up."""
    from depthrf.device import resolve
    from depthrf.nerf.training.loop import prepare
    from depthrf.nerf.training.memory import pixel_bytes
    from depthrf.nerf.training.schedule import step_cost

    device = resolve(options.device)
    with trial() as whole:
        with trial() as read:
            store = _store(work, options.max_side, device)
        with trial() as start:  # compiles kernels
            parts = options.model, options.loss, options.few_photos, options.optimiser
            trainer = prepare(store, *parts, seed=options.seed, device=device)
            trainer.advance(store).psnr.item()
        with trial() as steps:
            for _ in range(_STEPS):
                result = trainer.advance(store)
            result.psnr.item()
    memory, others = whole.memory_mb, work.num_photos - store.num_photos
    if memory is not None:
        memory += 1e-6 * pixel_bytes(others * len(store.rgb) // store.num_photos, options.optimiser.pixels)
    mean = steps.seconds / _STEPS * step_cost(trainer.options, trainer.model.options.rays_across)
    return Pace(start.seconds + read.seconds * work.num_photos / store.num_photos, mean, memory), trainer


def _store(work: Work, max_side: int, device: torch.device) -> PixelStore:
    from depthrf.geometry.camera import DepthPrior
    from depthrf.io.photos.images import read_rgb
    from depthrf.nerf.rays.batch import Bounds
    from depthrf.nerf.rays.pixel_store import PixelStore

    camera = work.camera.fitted(max_side)
    views = [v.with_camera(camera) for v in work.views(min(_PHOTOS, work.num_photos), 0.1)]
    photos = [read_rgb(work.images / view.name) for view in views]
    depth = np.full((camera.height, camera.width), _DEPTH, np.float32)
    priors = [DepthPrior(depth, np.float32(0.02) * depth)] * len(views)
    return PixelStore(views, [_sized(p, camera) for p in photos], priors, bounds=Bounds(*_RANGE), device=device)


def _sized(rgb: NDArray[np.uint8], camera: Camera) -> NDArray[np.uint8]:
    small = cv2.resize(rgb, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(small, dtype=np.uint8)


def train_cost(work: Work, options: TrainOptions, pace: Pace) -> Cost:
    """Training to the last step, or to the end of its budget."""
    from depthrf.nerf.training.schedule import StepBudget

    camera = work.camera.fitted(options.max_side)
    where = f"at {camera.width}×{camera.height}"
    if options.budget is not None:
        seconds = seconds_of(options.budget)
        return Cost(seconds, pace.memory_mb, f"{pace.steps_in(seconds)} steps {where}, as many as the budget allows")
    steps = options.optimiser.steps
    seconds = pace.start + steps * pace.step / (1.0 - StepBudget.OVERHEAD)
    return Cost(seconds, pace.memory_mb, f"{steps} steps {where}")


def film_cost(work: Work, options: FilmOptions, trainer: Trainer, scratch: Path) -> Cost:
    """The film's frames: a tile of one is rendered, and a whole one written and encoded."""
    from depthrf.io.encoding import Encoding, write_video
    from depthrf.io.photos.images import read_rgb, write_png
    from depthrf.nerf.rays.batch import Bounds
    from depthrf.nerf.rendering.views import render_view
    from depthrf.stages.filming.cameras import film_camera

    view, bounds, model = work.views(1, 0.0)[0], Bounds(*_RANGE), trainer.eval_model
    camera, tile = film_camera([view], options.max_side), view.camera.fitted(_TILE)
    frame = _sized(read_rgb(work.images / view.name), camera)
    with trial() as whole:
        with trial() as compiled:
            render_view(model, view.with_camera(tile.fitted(_TILE // 8)), bounds)
        with trial() as rendered:
            render_view(model, view.with_camera(tile), bounds)
        with trial() as written:
            write_png(scratch / "frame.png", frame)
        encoding = Encoding(options.codec, options.crf)
        film = scratch / f"film{CODECS[options.codec]}"
        with trial() as encoded:
            write_video(film, [frame] * _ENCODED, float(options.fps), (camera.width, camera.height), encoding)
    frames, pixels = max(2, round(options.seconds / options.speed * options.fps)), camera.width * camera.height
    pixel = _TRAINED * rendered.seconds / (tile.width * tile.height)
    each = pixel * pixels + 2.0 * written.seconds + encoded.seconds / _ENCODED  # colour and depth are kept
    seconds = compiled.seconds + _PREFLIGHT * pixel + frames * each
    memory = None if whole.memory_mb is None else whole.memory_mb + 1e-6 * FRAME_BYTES * pixels
    return Cost(seconds, memory, f"{frames} frames at {camera.width}×{camera.height}")
