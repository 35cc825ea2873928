"""Measures the radiance field on one CUDA GPU: one command, one table.

    python -m benchmarks.gpu --lego DIR/lego --workspace WORKSPACE [--parts P,P] [--minutes M] [-o OUT]

Parts, the most important ones first; ``--parts`` selects and orders them:

    correctness   the tests that need a CUDA device (against CPU and reference), counted
    kernels       hash encoding and whole training steps of the `default` preset (benchmarks/kernels.py)
    lego          the fast field, loss cdf, 3, 6 and 100 views at 400x400
    kitchen       kitchen-18 at 640x480: 4000 steps of `depthrf train` with the `rgbd` preset, then `depthrf evaluate`
    seed          the published network: lego-3 at 400x400, all five losses, to compare their order
    losses        the fast field with the other four losses, 3, 6 and 100 views

Each part runs in a process of its own and writes its output to OUT/PART.log. After every row, OUT/parts/PART.json
holds what was measured; after every part, OUT/gpu.json is written anew. So nothing is lost when the time of
``--minutes``, which is for all parts together, runs out. The same command resumes: parts that are done with the same
settings are not run again, and fields resume at their last checkpoint. Exit code: 0 all done, 1 some are not, 2 wrong
usage or no CUDA device.

Steps. The fast field trains for 3000 steps from 3 views, 6000 from 6 and 20000 from 100, but for no more than fit into
110 s. The published network trains for as many of its 50000 as fit into 75 s a loss, which is too few for the published
level. A timing of 20 steps, after each of which the host waits, estimates the number from below. It is kept in
OUT/steps-FIELD.json; ``--lego-steps`` and ``--seed-steps`` set it.

Time. With all of lego's 200 test views, the parts take about 6 minutes; seed takes 8 minutes more, losses 20.

What the machine needs: this checkout; torch, triton with gcc and Python.h, numba, NumPy, SciPy, OpenCV, Pillow, typer,
rich, msgspec, platformdirs, torchmetrics and pytest. It needs neither pycolmap nor Open3D nor imageio-ffmpeg. What to
bring along:

- The lego scene (44 MB): transforms_*.json, train/, train_depth/, test/.
- The kitchen's workspace with all stages up to merge, made on a machine with pycolmap and the evaluation data DATA by
    depthrf reconstruct DATA/kitchen/images --poses DATA/kitchen/transforms.json \
        --sensor-depth DATA/kitchen/depth --pipeline rgbd --until merge -o WORKSPACE
  Of it: *.json, records/, undistorted/, sensor_depth/, sfm/sparse/, depth/prior/.
- ``--commit`` where git does not tell the commit.

For a machine that is available for a short while only:

    python -m benchmarks.gpu --lego L --workspace W --parts correctness,kernels,lego,kitchen --minutes 9.5
    python -m benchmarks.gpu --lego L --workspace W                     goes on with what is left

Afterwards, anywhere: `python -m benchmarks.intake gpu OUT/gpu.json` puts the rows on the page of results.
``--device cpu --quick`` tries everything at toy sizes in this process; its numbers mean nothing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import gpu_checks, gpu_fields, results
from benchmarks.gpu_request import Add, Request, Row
from benchmarks.gpu_table import Measured, save_table, show
from depthrf.errors import UsageError

ROOT = Path(__file__).parents[1]
_LOG_LINES = 15


@dataclass(frozen=True)
class Part:
    """``run`` gets the request and the cases that are measured already, and hands each row to ``Add`` when it has it.

    ``options``: the fields of the request that decide its results. ``needs``: the one that names its data.
    """

    run: Callable[[Request, frozenset[str], Add], None]
    options: tuple[str, ...] = ()
    needs: str = ""


_OF_LEGO = ("lego", "test_every", "lego_steps")
PARTS = {
    "correctness": Part(gpu_checks.correctness),
    "kernels": Part(gpu_checks.kernels),
    "lego": Part(gpu_fields.lego, _OF_LEGO, "lego"),
    "kitchen": Part(gpu_fields.kitchen, ("workspace",), "workspace"),
    "seed": Part(gpu_fields.seed, ("lego", "seed_test_every", "seed_steps"), "lego"),
    "losses": Part(gpu_fields.losses, _OF_LEGO, "lego"),
}


def settings_of(name: str, request: Request) -> dict[str, Any]:
    """What decides the results of a part, as JSON has it."""
    values = {key: getattr(request, key) for key in ("device", "quick", *PARTS[name].options)}
    return {k: str(v) if isinstance(v, Path) else v for k, v in values.items()}


def run_here(name: str, request: Request) -> None:
    """Runs a part in this process; its record tells how it went."""
    record = Measured.load(request.out, name, settings_of(name, request))
    start = time.monotonic() - record.seconds

    def add(row: Row) -> None:
        record.rows = [r for r in record.rows if r["case"] != row.case]
        record.rows.append({**vars(row), **_origin(request)})
        record.seconds = time.monotonic() - start
        record.save()

    try:
        PARTS[name].run(request, frozenset(r["case"] for r in record.rows), add)
        record.state, record.error = "done", ""
    except Exception as e:  # whatever it is, the other parts go on
        traceback.print_exc()
        record.state, record.error = "failed", f"{type(e).__name__}: {e}"
    record.seconds = time.monotonic() - start
    record.save()


def _origin(request: Request) -> dict[str, str]:
    """Commit, date and hardware of a row, with the versions that decide its speed."""
    origin = results.origin(request.device)
    if request.device == "cuda":
        origin["hardware"] += "".join(f", {name} {version(name)}" for name in ("torch", "triton"))
    return {**origin, "commit": request.commit or origin["commit"]}


def run_apart(name: str, request: Request, arguments: Sequence[str], seconds: float | None) -> None:
    """Runs a part in a process of its own, since an error on the GPU is the end of the process that made it."""
    log = request.out / f"{name}.log"
    command = [sys.executable, "-m", "benchmarks.gpu", *arguments, "--only", name]
    with open(log, "ab") as handle:
        child = subprocess.Popen(
            command, env=_found_from_anywhere(), stdout=handle, stderr=handle, start_new_session=True
        )
        try:
            code: int | None = child.wait(seconds)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            if child.poll() is None:  # out of time or interrupted: it and the processes it started
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
    record = Measured.load(request.out, name, settings_of(name, request))
    if code is None:
        record.state, record.error = "stopped", f"after {seconds:.0f} s: no time left"
    elif record.state == "running" or (code and record.state == "done"):
        record.state, record.error = "failed", f"its process ended with code {code}"
    record.save()
    if record.state == "failed":
        print("\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]), flush=True)


def _found_from_anywhere() -> dict[str, str]:
    """The environment in which this checkout is imported, whatever the current folder is."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}


def measure(request: Request, names: Sequence[str], arguments: Sequence[str], minutes: float | None) -> bool:
    """Runs the parts that are not done yet, and tells whether all are."""
    end = None if minutes is None else time.monotonic() + 60.0 * minutes
    done = True
    for name in names:
        settings, left = settings_of(name, request), None if end is None else end - time.monotonic()
        record = Measured.load(request.out, name, settings)
        if record.state == "done":
            print(f"{name}: nothing to do", flush=True)
            continue
        if left is not None and left <= 0:
            print(f"{name}: no time left", flush=True)
            done = False
            continue
        if record.state == "new":  # what is there is of other settings
            shutil.rmtree(request.folder(name), ignore_errors=True)
        record.state = "running"
        record.save()
        print(f"{name} ...", flush=True)
        if request.quick:
            run_here(name, request)
        else:
            run_apart(name, request, arguments, left)
        record = Measured.load(request.out, name, settings)
        print(f"{name}: {record.state}, {record.seconds:.0f} s {record.error}", flush=True)
        done &= record.state == "done"
        save_table(request.out, PARTS)
    return done


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--lego", type=Path, metavar="DIR", help="the NeRF synthetic scene lego")
    parser.add_argument("--workspace", type=Path, metavar="DIR", help="kitchen-18 with all stages up to merge")
    parser.add_argument("--parts", help="default: all for which the data is given")
    parser.add_argument("--minutes", type=float, help="time for all parts together")
    parser.add_argument("--test-every", type=int, default=1, help="score every n-th test view of lego")
    parser.add_argument("--lego-steps", type=int, help="steps of the fast field")
    parser.add_argument("--seed-steps", type=int, help="steps of the published network")
    parser.add_argument("--seed-test-every", type=int, default=10, help="score every n-th test view with it")
    parser.add_argument("--quick", action="store_true", help="toy sizes, only to see whether it works")
    parser.add_argument("--commit", default="", help="what stands with the numbers where git does not tell")
    parser.add_argument("-o", "--output", type=Path, help="folder (default: scratch/gpu or scratch/gpu-quick)")
    parser.add_argument("--only", choices=PARTS, help=argparse.SUPPRESS)
    return parser


def _chosen(parser: argparse.ArgumentParser, given: argparse.Namespace) -> list[str]:
    """The parts to run, in order; asked-for parts without their data are wrong usage."""
    lacking = {n: p.needs for n, p in PARTS.items() if p.needs and getattr(given, p.needs) is None}
    if given.parts is None:
        for name, needs in lacking.items():
            print(f"{name}: left out, there is no --{needs}", flush=True)
        return [name for name in PARTS if name not in lacking]
    names = [name.strip() for name in given.parts.split(",")]
    if unknown := [name for name in names if name not in PARTS]:
        parser.error(f"--parts: unknown {', '.join(unknown)}; expected some of {', '.join(PARTS)}")
    for name in names:
        if name in lacking:
            parser.error(f"part {name} needs --{lacking[name]}")
    return names


def main(arguments: Sequence[str] | None = None) -> None:
    parser = _parser()
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    given = parser.parse_args(arguments)
    names = [given.only] if given.only else _chosen(parser, given)
    for folder in (given.lego, given.workspace):
        if folder is not None and not folder.is_dir():
            parser.error(f"no such folder: {folder}")
    if given.device == "cuda":  # on the CPU, torch is not imported here
        from depthrf.device import resolve

        try:
            resolve("cuda")
        except UsageError as e:
            parser.error(f"{e} Here --device cpu only makes sense together with --quick.")
    elif not given.quick:
        parser.error("--device cpu only makes sense together with --quick: these are measurements of a GPU")
    out = given.output or ROOT / "scratch" / ("gpu-quick" if given.quick else "gpu")
    out.mkdir(parents=True, exist_ok=True)
    request = Request.of(given, out.absolute())
    if given.only:
        run_here(given.only, request)
        return
    done = measure(request, names, arguments, given.minutes)
    show(save_table(request.out, PARTS))
    sys.exit(0 if done else 1)


if __name__ == "__main__":
    main()
