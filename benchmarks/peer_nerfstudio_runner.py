"""Trains nerfstudio's depth-nerfacto on the CPU for a time and renders the test views; runs in nerfstudio's venv.

    PYTHON -I peer_nerfstudio_runner.py DATA -o DIR --seconds S --batch-rays N --threads T [--score-every N]

``peer_nerfstudio.py`` starts it and makes DATA. It imports nothing of depthrf. Every setting is nerfstudio's default
for ``depth-nerfacto``, except:

- it trains on the CPU, with ``implementation`` torch, since there is no tiny-cuda-nn on a CPU;
- rays per batch are as asked;
- there is no viewer, and no evaluation, log or checkpoint while it trains;
- a rendering has fewer rays per chunk, which only saves memory;
- the LPIPS metric, which is no part of training, is left out, since its weights would be downloaded.

nerfstudio itself turns mixed precision off on the CPU. DIR gets ``summary.json`` and ``<photo>.npz`` of each view: rgb
(H, W, 3) uint8; distance_median and distance_expected (H, W) float32, along the ray, in units of the scene as
nerfstudio scaled it.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

METHOD = "depth-nerfacto"
_CHUNK_RAYS = 4096


class NoLpips(torch.nn.Module):
    """Stands in for the perceptual metric, which nerfstudio builds with its model, and which downloads weights."""

    def __init__(self, **_: Any) -> None:
        super().__init__()

    def forward(self, *_: Any) -> float:
        return float("nan")


def make_trainer(arguments: argparse.Namespace) -> Any:
    """nerfstudio's trainer with its data loaded."""
    from nerfstudio.configs.method_configs import method_configs
    from nerfstudio.engine.trainer import Trainer

    config = method_configs[METHOD]
    config.machine.device_type = "cpu"
    config.vis = "tensorboard"  # the only choice that needs neither a viewer nor an account; nothing is logged
    config.output_dir, config.experiment_name, config.timestamp = arguments.output / "run", "peer", "0"
    datamanager, model = config.pipeline.datamanager, config.pipeline.model
    datamanager.data = arguments.data
    datamanager.train_num_rays_per_batch = arguments.batch_rays
    model.implementation = "torch"
    model.eval_num_rays_per_chunk = _CHUNK_RAYS
    if arguments.camera_optimizer:
        model.camera_optimizer.mode = arguments.camera_optimizer
    seed = config.machine.seed
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    trainer = Trainer(config)
    with mock.patch("torchmetrics.image.lpip.LearnedPerceptualImagePatchSimilarity", NoLpips):
        trainer.setup("test")
    return trainer


def train(trainer: Any, seconds: float) -> list[float]:
    """Steps as nerfstudio's own loop does them, until ``seconds`` have gone by; returns each one's seconds."""
    from nerfstudio.engine.callbacks import TrainingCallbackLocation

    steps: list[float] = []
    spent = 0.0
    while spent < seconds and len(steps) < trainer.config.max_num_iterations:
        start, step = time.perf_counter(), len(steps)
        trainer.pipeline.train()
        for callback in trainer.callbacks:
            callback.run_callback_at_location(step, location=TrainingCallbackLocation.BEFORE_TRAIN_ITERATION)
        loss, _, _ = trainer.train_iteration(step)
        for callback in trainer.callbacks:
            callback.run_callback_at_location(step, location=TrainingCallbackLocation.AFTER_TRAIN_ITERATION)
        steps.append(time.perf_counter() - start)
        spent += steps[-1]
        if step % 20 == 0:
            print(f"nerfstudio: step {step}, {spent:.0f} s, loss {float(loss.detach()):.4f}", flush=True)
    return steps


def render(trainer: Any, arguments: argparse.Namespace) -> dict[str, Any]:
    """Renders every N-th test view; returns nerfstudio's scale of the scene and the seconds of each view."""
    outputs = trainer.pipeline.datamanager.dataparser.get_dataparser_outputs("test")
    model = trainer.pipeline.model.eval()
    seconds, rays = [], 0
    for index in range(0, len(outputs.image_filenames), arguments.score_every):
        start = time.perf_counter()
        rendered = model.get_outputs_for_camera(outputs.cameras[index : index + 1])
        seconds.append(time.perf_counter() - start)
        rgb = (rendered["rgb"].clamp(0.0, 1.0) * 255.0).round().to(torch.uint8).numpy()
        rays = rgb.shape[0] * rgb.shape[1]
        maps = {"distance_median": rendered["depth"], "distance_expected": rendered["expected_depth"]}
        maps = {name: values[..., 0].float().numpy() for name, values in maps.items()}
        name = Path(outputs.image_filenames[index]).stem
        np.savez(arguments.output / f"{name}.npz", rgb=rgb, **maps)
        print(f"nerfstudio: {name} rendered in {seconds[-1]:.1f} s", flush=True)
    return {"units_per_metre": float(outputs.dataparser_scale), "rays_per_view": rays, "view_seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--batch-rays", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--score-every", type=int, default=1)
    parser.add_argument("--camera-optimizer", choices=("off", "SO3xR3", "SE3"))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    trainer = make_trainer(arguments)
    processor = time.process_time()
    steps = train(trainer, arguments.seconds)
    processor = time.process_time() - processor
    summary = {
        "name": f"nerfstudio {version('nerfstudio')} {METHOD}",
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "camera_optimizer": trainer.config.pipeline.model.camera_optimizer.mode,
        "step_seconds": steps,
        "cpu_seconds": processor,
        **render(trainer, arguments),
    }
    (arguments.output / "summary.json").write_text(json.dumps(summary), encoding="utf-8")


if __name__ == "__main__":
    main()
