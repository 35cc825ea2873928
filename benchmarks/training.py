"""Speed of training on the CPU of two checkouts, measured side by side.

    python -m benchmarks.training WORKSPACE --before CHECKOUT [--max-side 480] [--steps 20] [--rounds 3] [--json FILE]

Both train the same photos and depth priors from the same start, in turns, each in processes of its own. Times are CPU
time, all threads together, so other work on the machine distorts them less; loading and compiling are left out. The
losses of the last step tell whether both do the same; the last line is the ratio of the medians.
"""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
_WARM_UP = 3  # steps that compile


def train(workspace: str, max_side: str, steps: str) -> None:
    """Prints microseconds of CPU time per ray, rays per second, and the losses of the last step, as JSON."""
    import torch

    from depthrf.nerf.options import FewPhotosOptions, LossOptions, ModelOptions, OptimiserOptions
    from depthrf.nerf.training.loop import prepare
    from depthrf.stages.training.photos import load
    from depthrf.workspace import Workspace

    cpu, optimiser = torch.device("cpu"), OptimiserOptions(steps=1500, batch_rays=4096)
    photos = load(Workspace(Path(workspace)), int(max_side), optimiser.pixels, cpu, one_exposure=True, frame=None)
    others = ModelOptions(), LossOptions(), FewPhotosOptions()
    trainer = prepare(photos.store, *others, optimiser, seed=0, device=cpu)
    for _ in range(_WARM_UP):
        trainer.advance(photos.store)
    wall, busy = time.perf_counter(), time.process_time()
    for _ in range(int(steps)):
        result = trainer.advance(photos.store)
    wall, busy = time.perf_counter() - wall, time.process_time() - busy
    rays = int(steps) * optimiser.batch_rays
    losses = {f"{name} loss": float(value) for name, value in result.losses.items()}
    print(json.dumps({"microseconds": 1e6 * busy / rays, "rays_per_second": rays / wall, **losses}))


def main() -> None:
    from benchmarks import checkouts  # here, because an older checkout, where this file runs too, may not have it

    parser = checkouts.parser_of(__doc__, max_side=480)
    parser.add_argument("--steps", type=int, default=20)
    asked = parser.parse_args()

    def measure(checkout: Path) -> dict[str, float]:
        printed = checkouts.run_in(checkout, HERE, "train", asked.workspace.resolve(), asked.max_side, asked.steps)
        found: dict[str, float] = json.loads(printed.splitlines()[-1])
        return found

    found = checkouts.in_turns(asked, measure)
    medians = {
        name: {key: statistics.median(run[key] for run in runs) for key in runs[0]} for name, runs in found.items()
    }
    row: dict[str, Any] = {"workspace": str(asked.workspace)}
    row |= {name: getattr(asked, name) for name in ("max_side", "steps", "rounds")}
    for key in medians["after"]:
        row[key] = {name: float(f"{values[key]:.6g}") for name, values in medians.items()}
    row["ratio"] = round(medians["before"]["microseconds"] / medians["after"]["microseconds"], 2)
    checkouts.tell(asked, row)


if __name__ == "__main__":
    main()
