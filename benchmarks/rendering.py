"""Speed and agreement of the CPU renderers of two checkouts, measured side by side.

    python -m benchmarks.rendering WORKSPACE --before CHECKOUT [--max-side 384] [--rounds 3] [--json FILE]

Both render the same views of a trained workspace, in turns, each in processes of its own. Times are CPU time, all
threads together, so other work on the machine distorts them less; compiling is left out. The last line is the ratio of
the medians.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve()


def render(workspace: Path, max_side: int, out: Path) -> None:
    """Renders two of the workspace's views and writes pictures and microseconds of CPU time per ray."""
    import torch

    from depthrf.io.poses.transforms_json import load_views
    from depthrf.io.trained_field import load_field
    from depthrf.nerf.normalise import normalise_view
    from depthrf.nerf.rendering.views import render_view

    field = load_field(workspace / "nerf" / "checkpoint.pt", torch.device("cpu"))
    train, test = load_views(workspace / "transforms.json")
    views = [view.with_camera(view.camera.fitted(max_side)) for view in (*test, *train)[:2]]
    views = [normalise_view(view, field.normalised_from_scene) for view in views]
    small = views[0].with_camera(views[0].camera.fitted(32))
    # As films are rendered; an older checkout has no such argument.
    adaptive = {"adaptive": True} if "adaptive" in inspect.signature(render_view).parameters else {}
    render_view(field.model, small, field.bounds, **adaptive)  # compiles
    start = time.process_time()
    pictures = [render_view(field.model, view, field.bounds, **adaptive).rgb for view in views]
    seconds = time.process_time() - start
    rays = sum(picture.shape[0] * picture.shape[1] for picture in pictures)
    arrays: dict[str, Any] = {f"view_{index}": picture for index, picture in enumerate(pictures)}
    np.savez(out, microseconds=1e6 * seconds / rays, **arrays)


def measure(checkout: Path, workspace: Path, max_side: int) -> dict[str, np.ndarray]:
    """What :func:`render` of that checkout gives."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.npz"
        # By its path, because an older checkout may not have this file.
        code = "import runpy, sys; from pathlib import Path; file, workspace, side, out = sys.argv[1:]; "
        code += "runpy.run_path(file)['render'](Path(workspace), int(side), Path(out))"
        command = [sys.executable, "-c", code, str(HERE), str(workspace), str(max_side), str(out)]
        environment = {**os.environ, "PYTHONPATH": str(checkout.resolve())}
        subprocess.run(command, env=environment, cwd=checkout, check=True)
        return dict(np.load(out))


def psnr(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> float:
    """PSNR in dB between the 8-bit pictures of two runs."""
    names = [name for name in a if name.startswith("view")]
    error = np.mean([((a[n].astype(float) - b[n].astype(float)) ** 2).mean() for n in names])
    return float(10.0 * np.log10(255.0**2 / max(float(error), 1e-9)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--before", type=Path, required=True, help="checkout to compare with")
    parser.add_argument("--max-side", type=int, default=384)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the table here")
    asked = parser.parse_args()
    checkouts = {"before": asked.before, "after": HERE.parents[1]}
    times: dict[str, list[float]] = {name: [] for name in checkouts}
    found = {}
    for _ in range(asked.rounds):
        for name, checkout in checkouts.items():
            found[name] = measure(checkout, asked.workspace.resolve(), asked.max_side)
            times[name].append(float(found[name]["microseconds"]))
    medians = {name: statistics.median(values) for name, values in times.items()}
    row: dict[str, Any] = {
        "workspace": asked.workspace.name,
        "max_side": asked.max_side,
        "rounds": asked.rounds,
        **{f"{name}_microseconds_per_ray": round(value, 1) for name, value in medians.items()},
        **{f"{name}_rays_per_second_and_core": round(1e6 / value) for name, value in medians.items()},
        "ratio": round(medians["before"] / medians["after"], 2),
        "psnr_between_db": round(psnr(found["before"], found["after"]), 1),
    }
    for key, value in row.items():
        print(f"{key:36} {value}")
    if asked.json:
        asked.json.write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
