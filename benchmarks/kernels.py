"""Speed of the hash encoding and of whole training steps; each implementation is first checked against the reference.

    python -m benchmarks.kernels [--device auto|cpu|cuda] [--pipeline PRESET] [--json FILE]

On a GPU: reference against Triton (tables in float32, float16 and bfloat16); on the CPU: reference against numba. The
points are those of one training batch of the preset, along rays.

Bytes are those that an encoding must move: points, eight entries a level, outputs, and in the backward pass the cleared
table. Their rate is given as a share of that of copying a large tensor in the same run. Cached entries can raise the
share above 1.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from depthrf import device, pipeline
from depthrf.geometry.camera import Camera, DepthPrior, View
from depthrf.geometry.transforms import look_at
from depthrf.nerf import hashgrid
from depthrf.nerf.hashgrid import reference
from depthrf.nerf.hashgrid.contract import resolutions
from depthrf.nerf.model import RadianceField
from depthrf.nerf.options import GridOptions
from depthrf.nerf.rays.batch import Bounds
from depthrf.nerf.rays.pixel_store import PixelStore
from depthrf.nerf.training.loop import Trainer

Encode = Callable[[Tensor, Tensor, list[int]], Tensor]
TOLERANCE = {torch.float32: 1e-4, torch.float16: 2e-3, torch.bfloat16: 1e-2}


def wait(target: torch.device) -> None:
    if target.type == "cuda":
        torch.cuda.synchronize()


def seconds(work: Callable[[], object], target: torch.device, rounds: int) -> float:
    """Median wall seconds after one warm-up, the device's work included."""
    times = []
    for _ in range(rounds + 1):
        wait(target)
        start = time.perf_counter()
        work()
        wait(target)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def peak(work: Callable[[], object], target: torch.device) -> float | None:
    """MB allocated at most while ``work`` runs, beyond what was there; None on the CPU."""
    if target.type != "cuda":
        return None
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    work()
    return round((torch.cuda.max_memory_allocated() - before) / 1e6, 1)


def copy_bandwidth(target: torch.device) -> float:
    """Bytes per second that a copy of a large tensor reads and writes."""
    source = torch.zeros(2**28 if target.type == "cuda" else 2**24, device=target)
    copy = torch.empty_like(source)
    return 2 * source.nbytes / seconds(lambda: copy.copy_(source), target, 5)


def batch_points(rays: int, samples: int, target: torch.device) -> Tensor:
    """Points along random rays through the unit cube, neighbours on a ray beside each other."""
    generator = torch.Generator(target).manual_seed(0)
    ends = torch.rand((2, rays, 1, 3), generator=generator, device=target)
    s = torch.linspace(0.0, 1.0, samples, device=target)[:, None]
    return (ends[0] * (1.0 - s) + ends[1] * s).reshape(-1, 3)


def difference(encode: Encode, u: Tensor, table: Tensor, cells: list[int]) -> dict[str, float]:
    """Largest difference from the reference in float32, relative to its largest value: outputs and gradients."""
    exact, tested = table.detach().float().requires_grad_(), table.detach().requires_grad_()
    outputs = reference.encode(u, exact, cells), encode(u, tested, cells)
    weights = torch.rand_like(outputs[0])
    for output in outputs:
        torch.autograd.backward(output, weights)
    assert exact.grad is not None
    assert tested.grad is not None
    pairs = {"forward": outputs, "backward": (exact.grad, tested.grad.float())}
    found = {k: float((a - b).detach().abs().max() / a.detach().abs().max()) for k, (a, b) in pairs.items()}
    assert found["forward"] < 1e-4, found
    assert found["backward"] < TOLERANCE[table.dtype], found
    return found


def encoding(
    encode: Encode, grid: GridOptions, u: Tensor, dtype: torch.dtype, bandwidth: float, rounds: int
) -> dict[str, Any]:
    """Check, points per second, share of the copy's bandwidth and peak memory of one implementation."""
    cells = resolutions(grid.levels, grid.coarsest, grid.finest)
    shape = (grid.levels, 2**grid.log2_size, grid.features)
    table = torch.rand(shape, device=u.device).to(dtype).requires_grad_()
    # The reference needs some kilobytes a point: it is compared on a part.
    result: dict[str, Any] = {"difference": difference(encode, u[:: max(1, len(u) // 20_000)].clone(), table, cells)}
    output = encode(u, table, cells)
    gradient = torch.rand_like(output)
    gathered = len(u) * grid.levels * 8 * grid.features
    work: dict[str, tuple[Callable[[], object], int]] = {
        "forward": (partial(encode, u, table, cells), gathered * table.element_size()),
        "backward": (
            partial(torch.autograd.grad, output, table, gradient, retain_graph=True),
            gathered * 8 + table.numel() * 4,  # an atomic addition reads and writes
        ),
    }
    for name, (run, moved) in work.items():
        took = seconds(run, u.device, rounds)
        result[name] = {
            "points_per_second": round(len(u) / took),
            "bandwidth_share": round((moved + u.nbytes + output.nbytes) / took / bandwidth, 3),
            "peak_mb": peak(run, u.device),
        }
    return result


def room_store(target: torch.device) -> PixelStore:
    """Noise with a depth everywhere, seen by eight cameras: what training steps cost does not depend on it."""
    rng = np.random.default_rng(0)
    camera = Camera(320, 240, 300.0, 300.0, 160.0, 120.0)
    up = np.array([0.0, -1.0, 0.0])
    views = [View(str(i), camera, look_at(rng.normal(0, 0.3, 3), np.array([0.0, 0.0, 1.0]), up)) for i in range(8)]
    images = [rng.integers(0, 255, (240, 320, 3), dtype=np.uint8) for _ in views]
    depth = np.ones((240, 320), np.float32)
    return PixelStore(views, images, [DepthPrior(depth, 0.01 * depth)] * 8, bounds=Bounds(0.1, 4.0), device=target)


def training(encode: Encode, options: Any, target: torch.device, rounds: int) -> dict[str, Any]:
    """Rays per second and peak memory of whole training steps with one implementation."""
    torch.manual_seed(0)
    model = RadianceField(options.model, num_photos=8).to(target)
    trainer, store = Trainer(model, options.optimiser, options.loss, seed=0), room_store(target)
    with mock.patch.object(hashgrid, "implementation", return_value=encode):
        # Until the step is recorded; replayed it allocates nothing.
        memory = peak(lambda: [trainer.advance(store) for _ in range(5)], target)
        took = seconds(lambda: trainer.advance(store), target, rounds)
    return {"rays_per_second": round(options.optimiser.batch_rays / took), "peak_mb": memory}


def measure(target: torch.device, preset: str, rounds: int) -> dict[str, Any]:
    options = pipeline.make_plan(pipeline.load_pipeline(preset), preset)["train"]
    fast = hashgrid.implementation(target.type)
    names = {"reference": reference.encode, {"cuda": "triton", "cpu": "numba"}[target.type]: fast}
    on_gpu = target.type == "cuda"
    bandwidth = copy_bandwidth(target)
    u = batch_points(options.optimiser.batch_rays, options.model.num_samples, target)
    result: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if on_gpu else f"CPU, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "preset": preset,
        "copy_gb_per_second": round(bandwidth / 1e9, 1),
        "points": len(u),
        "encoding": {},
        "training": {},
    }
    for name, encode in names.items():
        for dtype in (torch.float32, torch.float16, torch.bfloat16)[: 3 if name == "triton" else 1]:
            label = f"{name} {str(dtype).removeprefix('torch.')}"
            part = u if name != "reference" else u[: 2**18]
            result["encoding"][label] = encoding(encode, options.model.field.grid, part, dtype, bandwidth, rounds)
        result["training"][name] = training(encode, options, target, rounds)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=device.CHOICES, default="auto")
    parser.add_argument("--pipeline", help="preset whose sizes are taken (default: `default` on a GPU, else `cpu`)")
    parser.add_argument("--rounds", type=int, help="timed repetitions (default: 20 on a GPU, else 3)")
    parser.add_argument("--json", type=Path, help="also write the result here")
    arguments = parser.parse_args()
    target = device.resolve(arguments.device)
    on_gpu = target.type == "cuda"
    preset = arguments.pipeline or ("default" if on_gpu else "cpu")
    result = measure(target, preset, arguments.rounds or (20 if on_gpu else 3))
    text = json.dumps(result, indent=1)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
