"""Speed of training on the CPU of two checkouts, measured side by side.

    python -m benchmarks.training WORKSPACE --before CHECKOUT [--max-side 480] [--steps 20] [--rounds 3] [--json FILE]

Both train the same photos and depth priors from the same start, in turns, each in processes of its own. Times are CPU
time, all threads together, so other work on the machine distorts them less; loading and compiling are left out. The
losses of the last step tell whether both do the same; the last line is the ratio of the medians.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
_WARM_UP = 3  # steps that compile


def train(workspace: Path, max_side: int, steps: int) -> dict[str, float]:
    """Microseconds of CPU time per ray, rays per second, and the losses of the last step."""
    import torch

    from depthrf.nerf.options import FewPhotosOptions, LossOptions, ModelOptions, OptimiserOptions
    from depthrf.nerf.training.loop import prepare
    from depthrf.stages.training.photos import load
    from depthrf.workspace import Workspace

    cpu, optimiser = torch.device("cpu"), OptimiserOptions(steps=1500, batch_rays=4096)
    photos = load(Workspace(workspace), max_side, optimiser.pixels, cpu, one_exposure=True, frame=None)
    others = ModelOptions(), LossOptions(), FewPhotosOptions()
    trainer = prepare(photos.store, *others, optimiser, seed=0, device=cpu)
    for _ in range(_WARM_UP):
        trainer.advance(photos.store)
    wall, busy = time.perf_counter(), time.process_time()
    for _ in range(steps):
        result = trainer.advance(photos.store)
    wall, busy = time.perf_counter() - wall, time.process_time() - busy
    rays = steps * optimiser.batch_rays
    losses = {f"{name} loss": float(value) for name, value in result.losses.items()}
    return {"microseconds": 1e6 * busy / rays, "rays_per_second": rays / wall, **losses}


def measure(checkout: Path, workspace: Path, max_side: int, steps: int) -> dict[str, float]:
    """What :func:`train` of that checkout gives."""
    # By its path, because an older checkout may not have this file.
    code = "import json, runpy, sys; from pathlib import Path; file, workspace, side, steps = sys.argv[1:]; "
    code += "print(json.dumps(runpy.run_path(file)['train'](Path(workspace), int(side), int(steps))))"
    command = [sys.executable, "-c", code, str(HERE), str(workspace), str(max_side), str(steps)]
    environment = {**os.environ, "PYTHONPATH": str(checkout.resolve()), "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(command, env=environment, cwd=checkout, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--before", type=Path, required=True, help="checkout to compare with")
    parser.add_argument("--max-side", type=int, default=480)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the table here")
    asked = parser.parse_args()
    checkouts = {"before": asked.before, "after": HERE.parents[1]}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in checkouts}
    for _ in range(asked.rounds):
        for name, checkout in checkouts.items():
            found[name].append(measure(checkout, asked.workspace.resolve(), asked.max_side, asked.steps))
    medians = {
        name: {key: statistics.median(run[key] for run in runs) for key in runs[0]} for name, runs in found.items()
    }
    row: dict[str, Any] = {"workspace": str(asked.workspace), **vars_of(asked)}
    for key in medians["after"]:
        row[key] = {name: float(f"{values[key]:.6g}") for name, values in medians.items()}
    row["ratio"] = round(medians["before"]["microseconds"] / medians["after"]["microseconds"], 2)
    for key, value in row.items():
        print(f"{key:20} {value}")
    if asked.json:
        asked.json.write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")


def vars_of(asked: argparse.Namespace) -> dict[str, int]:
    """The settings that a row of figures names."""
    return {name: getattr(asked, name) for name in ("max_side", "steps", "rounds")}


if __name__ == "__main__":
    main()
