"""Whether CUDA gives the same as the CPU, and how fast: the parts of the GPU benchmark that need no data."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

from benchmarks.gpu_request import Add, Request, Row
from depthrf.storage import write_json


def correctness(request: Request, known: frozenset[str], add: Add) -> None:
    """The files are named, since collecting all of the tests takes packages that a GPU machine lacks."""
    root = Path(__file__).parents[1]
    sources = [p for p in sorted((root / "tests").rglob("test_*.py")) if p.parent.name != "benchmarks"]
    marked = [p for p in sources if "mark.gpu" in p.read_text(encoding="utf-8")]
    suites = {"CUDA against the CPU": ["-m", "gpu", *map(str, marked[-1:] if request.quick else marked)]}
    if not request.quick:
        suites["Triton against the reference"] = [str(root / "tests" / "nerf" / "hashgrid" / "test_cuda.py")]
    for case, arguments in suites.items():
        report = request.out / "tests.xml"
        report.unlink(missing_ok=True)
        start = time.monotonic()
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--junitxml={report}", *arguments]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
        print(done.stdout, done.stderr, flush=True)
        if not report.is_file():
            raise RuntimeError(f"pytest ended with code {done.returncode}: {done.stdout[-500:]}{done.stderr[-500:]}")
        add(_counted(case, report, time.monotonic() - start, can_run=request.device == "cuda"))


def _counted(case: str, report: Path, seconds: float, *, can_run: bool) -> Row:
    tests = list(ElementTree.parse(report).getroot().iter("testcase"))
    bad = [t.get("name", "") for t in tests if t.find("failure") is not None or t.find("error") is not None]
    skipped = sum(t.find("skipped") is not None for t in tests)
    passed = len(tests) - len(bad) - skipped
    which = f" ({', '.join(bad[:3])})" if bad else ""
    measured = f"{passed} passed, {len(bad)} failed{which}, {skipped} skipped"
    return Row(case, measured, "all pass", bool(passed) and not bad if can_run else None, seconds=f"{seconds:.0f}")


def kernels(request: Request, known: frozenset[str], add: Add) -> None:
    from benchmarks.kernels import measure
    from depthrf import device
    from depthrf.nerf.hashgrid import missing_for_triton

    if request.device == "cuda" and (missing := missing_for_triton()):
        raise RuntimeError(f"Triton cannot start its kernels without {missing}: install it")
    preset, rounds = "default", 20
    if request.quick:
        preset, rounds = str(_toy_preset(request.out / "toy.toml")), 1
    found = measure(device.resolve(request.device), preset, rounds)
    write_json(request.out / "kernels.json", found)
    copy = f"{found['copy_gb_per_second']:,.0f} GB/s"
    base = found["encoding"]["reference float32"]
    for name, encoding in found["encoding"].items():
        for way in ("forward", "backward"):
            speed, memory = encoding[way]["points_per_second"], encoding[way]["peak_mb"]
            text = f"{speed / 1e6:,.1f} M points/s, {encoding[way]['bandwidth_share']:.0%} of the copy's {copy}"
            if encoding is not base:
                text += f", {speed / base[way]['points_per_second']:.1f} x the reference"
            text += "" if memory is None else f", peak {memory:,.0f} MB"
            add(Row(f"encoding, {name}, {way}", text))
    for name, steps in found["training"].items():
        memory = "" if steps["peak_mb"] is None else f", peak {steps['peak_mb']:,.0f} MB"
        add(Row(f"training steps, {name}", f"{steps['rays_per_second'] / 1e3:,.0f}k rays/s{memory}"))


def _toy_preset(path: Path) -> Path:
    path.write_text(
        "[train.model]\nnum_samples = 8\n[train.model.field]\nwidth = 8\n"
        "[train.model.field.grid]\nlevels = 2\nlog2_size = 8\nfinest = 32\n"
        "[train.model.proposal]\nnum_samples = [8]\nwidth = 8\n[train.model.proposal.grid]\nlevels = 2\nlog2_size = 8\n"
        "[train.optimiser]\nbatch_rays = 64\n",
        encoding="utf-8",
    )
    return path
