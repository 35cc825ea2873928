"""The page of results, RESULTS.md, from what was measured: tests/benchmarks/results/*.json and notes.md.

    python -m tests.benchmarks.results                     writes the page
    python -m tests.benchmarks.results --check             tells whether it is up to date
    python -m tests.benchmarks.results --bench DIR NAME    makes results/NAME.json of a folder of `depthrf bench`
    python -m tests.benchmarks.results --end-to-end FILE   adds what `tests.benchmarks.end_to_end` printed
    python -m tests.benchmarks.results --ablation DIR      makes results/ablation.json of `tests.benchmarks.ablation`
    python -m tests.benchmarks.results --peer FILE         makes results/peer.json of `tests.benchmarks.peer_nerfstudio`

One JSON file is one table:

    order       where on the page, ascending
    title       of the section
    command     that made the numbers; SET or DIR stand for what differs between rows
    columns     names of the columns; a value that a row lacks was not measured, and the page shows a dash
    measured    rows {values: {column: text or number}, commit, date, hardware}
    published   rows {values, source}: numbers of a paper or repository, printed below ours
    peers       rows {values, source, commit, date, hardware}: other programs run on the same data here
    notes       sentences below the table
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PAGE = HERE / "RESULTS.md"
_HEAD = """\
# Results

Made by `python -m tests.benchmarks.results` from [results/](results); do not edit. Every number was measured at the
commit, on the day and on the hardware that stand with it. A dash: not measured, or not recorded.
"""
_LOSSES = ("none", "l2", "urf", "ds_nerf", "cdf")
_KEYS = {"order", "title", "command", "columns", "measured", "published", "peers", "notes"}
_ROW_KEYS = {
    "measured": {"values", "commit", "date", "hardware"},
    "published": {"values", "source"},
    "peers": {"values", "source", "commit", "date", "hardware"},
}


def page(folder: Path = RESULTS) -> str:
    """The whole page."""
    tables = sorted((read(path) for path in folder.glob("*.json")), key=lambda table: (table["order"], table["title"]))
    notes = folder / "notes.md"
    parts = [_HEAD, *(section(table) for table in tables)]
    return "\n".join([*parts, *([notes.read_text(encoding="utf-8")] if notes.is_file() else [])])


def read(path: Path) -> dict[str, Any]:
    """A table, checked.

    Raises:
        ValueError: A key or column is unknown or missing; the message names the file.
    """
    table: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    table = {"published": [], "peers": [], "notes": [], **table}
    if table.keys() != _KEYS:
        raise ValueError(f"{path}: unknown or missing keys {sorted(table.keys() ^ _KEYS)}")
    for kind, keys in _ROW_KEYS.items():
        for row in table[kind]:
            if row.keys() != keys:
                raise ValueError(f"{path}: a row of {kind!r} has wrong or missing keys {sorted(row.keys() ^ keys)}")
            if unknown := row["values"].keys() - set(table["columns"]):
                raise ValueError(f"{path}: no such columns: {sorted(unknown)}")
    return table


def section(table: dict[str, Any]) -> str:
    """One table with its command, hardware and notes, as Markdown."""
    columns = table["columns"]
    lines = [f"## {table['title']}", "", f"`{table['command']}`", ""]
    lines += [_line([*columns, "commit, date"]), "|" + "---|" * (len(columns) + 1)]
    for row in table["measured"]:
        lines.append(_line([*_cells(row, columns, "–"), f"{row['commit']}, {row['date']}"]))
    for row in table["peers"]:
        origin = f"{row['source']}; run here {row['date']}"
        lines.append(_line([*_cells(row, columns, "–"), origin]))
    for row in table["published"]:
        lines.append(_line([*_cells(row, columns, ""), f"published: {row['source']}"]))
    hardware = list(dict.fromkeys(row["hardware"] for row in (*table["measured"], *table["peers"])))
    if hardware:
        lines += ["", f"Hardware: {'; '.join(hardware)}."]
    return "\n".join([*lines, *([""] if table["notes"] else []), *(f"- {note}" for note in table["notes"]), ""])


def _cells(row: dict[str, Any], columns: list[str], absent: str) -> list[str]:
    values = (row["values"].get(column) for column in columns)
    return [absent if value is None else str(value) for value in values]


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def from_bench(folder: Path, name: str) -> None:
    """``results/<name>.json`` of the cells that `depthrf bench` left in ``folder``.

    Title, order and notes of an existing file are kept.
    """
    from depthrf.bench import published

    cells = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    first = cells[0]
    settings, sizes = first["settings"], [score["size"] for score in first["scores"]]
    columns = ["loss", "views", "trained on", *(f"PSNR, {s} px" for s in sizes), *(f"SSIM, {s} px" for s in sizes)]
    made = origin(first["device"])
    measured = []
    for cell in sorted(cells, key=_place):
        values = {"loss": cell["cell"]["loss"], "views": cell["cell"]["views"]}
        values["trained on"] = "all sizes" if cell["cell"]["training"] == "multi" else f"{sizes[0]} px"
        for score in cell["scores"]:
            values[f"PSNR, {score['size']} px"] = f"{score['psnr']:.2f}"
            values[f"SSIM, {score['size']} px"] = f"{score['ssim']:.3f}"
        values["seconds: train / score"] = f"{cell['train_seconds']:.0f} / {cell['test_seconds']:.0f}"
        measured.append({"values": values, **made})
    columns.append("seconds: train / score")
    known: list[dict[str, Any]] = []
    if settings["scene"] == "lego" and len(sizes) == 1:
        columns.append("published PSNR, 400 px")
        for row in measured:
            value = published.LEGO_PSNR.get(row["values"]["loss"], {}).get(row["values"]["views"])
            row["values"]["published PSNR, 400 px"] = "none known" if value is None else f"{value:.2f}"
    elif settings["scene"] == "lego" and len(sizes) == len(published.LEGO_MULTI_SCALE_PSNR):
        values = {"loss": "none", "views": 100, "trained on": "all of 800, 400, 200, 100 px"}
        values |= {f"PSNR, {s} px": f"{p}" for s, p in zip(sizes, published.LEGO_MULTI_SCALE_PSNR, strict=True)}
        known.append({"values": values, "source": "mipnerf_pl, 300000 steps, at 800, 400, 200 and 100 px"})
    optimiser = settings["optimiser"]
    command = (
        f"depthrf bench {settings['scene']} --field {settings['model']['field']['kind']} "
        f"--views {_joined(cells, 'views')} --losses {_joined(cells, 'loss')} --size {settings['size']} "
        f"--scales {settings['scales']} --steps {optimiser['steps']} --batch-rays {optimiser['batch_rays']} "
        f"--test-every {settings['test_every']}"
    )
    kept = read(RESULTS / f"{name}.json") if (RESULTS / f"{name}.json").is_file() else {}
    table = {
        "order": kept.get("order", 50),
        "title": kept.get("title", f"{settings['scene']}, {settings['model']['field']['kind']} field"),
        "command": command,
        "columns": columns,
        "measured": measured,
        "published": known,
        "peers": kept.get("peers", []),
        "notes": kept.get(
            "notes", [f"{first['num_test']} test views; the first views of transforms_train.json train."]
        ),
    }
    _write(name, table)


def from_end_to_end(file: Path) -> None:
    """Adds the run to ``results/end_to_end.json``, in the place of an earlier one of the same set and commit."""
    run = json.loads(file.read_text(encoding="utf-8"))
    table = read(RESULTS / "end_to_end.json")
    scores, train, seconds = run["scores"], run["train"], run["seconds"]

    def score(name: str, digits: int) -> str | None:
        value = scores.get(name)
        return None if value is None else f"{value:.{digits}f}"

    values = {
        "set": run["set"],
        "photos placed": "/".join(map(str, run["registered"])),
        "seconds: sfm": round(seconds["sfm"]),
        "seconds: train": round(seconds["train"]),
        "seconds: render": f"{seconds['render']:.0f} ({run['video_frames']} frames)",
        "wall of the run": f"{run['wall']:.0f} s",
        "steps": train["steps"],
        "rays/s": f"{train['rays_per_second'] / 1000:.1f}k",
        "size": f"{train['width']}x{train['height']}, {run['num_views']} views",
        "PSNR": score("psnr", 2),
        "PSNR, exposure fitted": score("psnr_exposure_fit", 2),
        "SSIM": score("ssim", 3),
        "LPIPS": score("lpips", 3),
        "depth AbsRel": score("depth_abs_rel", 4),
        "depth median error": score("depth_median_abs_error", 4),
        "depth delta1": score("depth_delta1", 3),
    }
    row = {"values": {k: v for k, v in values.items() if v is not None}, **origin(run["device"])}
    same = (row["values"]["set"], row["commit"])
    others = [r for r in table["measured"] if (r["values"]["set"], r["commit"]) != same]
    _write("end_to_end", {**table, "measured": [*others, row]})


_ABLATION = {
    "psnr": ("PSNR", 2),
    "psnr_exposure_fit": ("PSNR, exposure fitted", 2),
    "ssim": ("SSIM", 3),
    "depth_median_abs_error": ("depth median error", 3),
}


def from_ablation(folder: Path) -> None:
    """Takes what `tests.benchmarks.ablation` left in ``folder`` into ``results/ablation.json``.

    Title, notes and the rows of variants that are not in ``folder`` are kept.
    """
    kept = read(RESULTS / "ablation.json")
    rows = {(row["values"]["scene"], row["values"]["variant"]): row for row in kept["measured"]}
    for scene in sorted(path for path in folder.iterdir() if path.is_dir()):
        runs = [json.loads(path.read_text(encoding="utf-8")) for path in scene.glob("*.json")]
        for run in sorted(runs, key=lambda run: run["order"]):
            values = {"scene": scene.name, "variant": run["name"], "size": f"{run['size']} px"}
            values |= {"steps": run["steps"], "rays a step": run["rays"]}
            for name, (column, digits) in _ABLATION.items():
                if run["scores"].get(name) is not None:
                    values[column] = f"{run['scores'][name]:.{digits}f}"
            rows[scene.name, run["name"]] = {"values": values, **run["origin"]}
    measured = sorted(rows.values(), key=lambda row: row["values"]["scene"])  # stable: new variants come last
    columns = ["scene", "variant", "size", "steps", "rays a step", *(column for column, _ in _ABLATION.values())]
    _write("ablation", {**kept, "columns": columns, "measured": measured})


def from_peer(file: Path) -> None:
    """``results/peer.json`` of one run of `tests.benchmarks.peer_nerfstudio`; title and notes are kept."""
    kept, result = read(RESULTS / "peer.json"), json.loads(file.read_text(encoding="utf-8"))
    where = {key: result[key] for key in ("commit", "date", "hardware")}
    rows = {}
    for name, run in result["runs"].items():
        mean = run["mean"]
        values = {
            "program": run["name"],
            "steps": run["steps"],
            "seconds": f"{run['seconds']:.0f}",
            "rays/s": f"{run['rays_per_second']:.0f}",
            "PSNR": f"{mean['psnr']:.2f}",
            "PSNR, exposure fitted": f"{mean['psnr_exposure_fit']:.2f}",
            "SSIM": f"{mean['ssim']:.3f}",
            "depth median error, m": f"{mean['depth_median_abs_error']:.3f}",
        }
        rows[name] = {"values": values, **where}
    ratios = {k: v for k, v in result["ratios"].items() if "cpu_second" not in k and "rendered" not in k}
    difference = "; ".join(f"{name}: {value:.2f}" for name, value in ratios.items())
    notes = [note for note in kept["notes"] if not note.startswith("In this run")]
    _write(
        "peer",
        {
            **kept,
            "columns": list(rows["depthrf"]["values"]),
            "measured": [rows["depthrf"]],
            "peers": [{**rows["nerfstudio"], "source": "nerfstudio 1.1.5"}],
            "notes": [*notes, f"In this run, {difference}."],
        },
    )


def _write(name: str, table: dict[str, Any]) -> None:
    text = json.dumps(table, indent=1, ensure_ascii=False)
    (RESULTS / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")


def origin(device: str) -> dict[str, str]:
    """The commit, the day and the hardware that stand with every number measured here."""
    return {"commit": _commit(), "date": f"{datetime.now(UTC):%Y-%m-%d}", "hardware": _hardware(device)}


def _place(result: dict[str, Any]) -> tuple[int, int, bool]:
    """Fewest views first, then the losses in the order of the published table."""
    cell = result["cell"]
    return cell["views"], _LOSSES.index(cell["loss"]), cell["training"] == "multi"


def _joined(cells: list[dict[str, Any]], key: str) -> str:
    return ",".join(dict.fromkeys(str(cell["cell"][key]) for cell in sorted(cells, key=_place)))


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown commit"


def _hardware(device: str) -> str:
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name()
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{os.cpu_count()} CPU cores ({name}), no GPU"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only tell whether the page is up to date")
    parser.add_argument("--bench", nargs=2, metavar=("DIR", "NAME"), help="take in the results of `depthrf bench`")
    parser.add_argument("--end-to-end", type=Path, metavar="FILE", help="take in an end-to-end run")
    parser.add_argument("--ablation", type=Path, metavar="DIR", help="take in the variants of an ablation")
    parser.add_argument("--peer", type=Path, metavar="FILE", help="take in a run beside nerfstudio")
    arguments = parser.parse_args()
    if arguments.bench:
        from_bench(Path(arguments.bench[0]), arguments.bench[1])
    if arguments.end_to_end:
        from_end_to_end(arguments.end_to_end)
    if arguments.ablation:
        from_ablation(arguments.ablation)
    if arguments.peer:
        from_peer(arguments.peer)
    if arguments.check:
        sys.exit(0 if PAGE.read_text(encoding="utf-8") == page() else f"{PAGE} is not what results/ says")
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
