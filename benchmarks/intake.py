"""Takes what a benchmark has written into the tables of benchmarks/results.

    python -m benchmarks.intake end-to-end FILE    what `benchmarks.end_to_end` printed
    python -m benchmarks.intake poses FILE         results.json of `benchmarks.sfm`
    python -m benchmarks.intake growth FILE        results.json of `benchmarks.growth`
    python -m benchmarks.intake ablation DIR       the folder of `benchmarks.ablation`
    python -m benchmarks.intake peer FILE          result.json of `benchmarks.peer_nerfstudio`
    python -m benchmarks.intake gpu FILE           gpu.json of `benchmarks.gpu`
    python -m benchmarks.intake bench DIR          the folder of `depthrf bench`
    python -m benchmarks.intake exports FILE       results.json of `benchmarks.exports`
    python -m benchmarks.intake promises FILE      promises.json of `benchmarks.promises`

Rows of the same key are replaced; the replaced ones go to the history. Then RESULTS.md is written anew.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import promises, results
from benchmarks.results import Row


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without what was not measured."""
    return {name: value for name, value in values.items() if value is not None}


def _decimals(value: float | None, digits: int) -> str | None:
    return None if value is None else f"{value:.{digits}f}"


def end_to_end(file: Path) -> list[Row]:
    """One row a set."""
    run = _read(file)
    scores, seconds, train = run["scores"], run["seconds"], run["train"]
    placed, photos = run["registered"]
    values = {
        "set": run["set"],
        "photos placed": f"{placed}/{photos}",
        "SfM": f"{seconds['sfm']:.0f} s",
        "stereo": f"{seconds['depth']:.0f} s",
        "training": f"{seconds['train']:.0f} s",
        "video": f"{seconds['render']:.0f} s",
        "in all": f"{run['wall']:.0f} s",
        "PSNR": _decimals(scores.get("psnr"), 2),
        "exposure fitted": _decimals(scores.get("psnr_exposure_fit"), 2),
        "SSIM": _decimals(scores.get("ssim"), 3),
        "depth AbsRel": _decimals(scores.get("depth_abs_rel"), 4),
        "scored on": f"{run['num_views']} views at {train['width']}x{train['height']}",
    }
    return [{"values": _given(values), **results.origin(run["device"])}]


def poses(file: Path) -> list[Row]:
    """Two rows a set: depthrf, and COLMAP's defaults where they were in the same run."""
    made = results.origin("cpu")
    peer = {"source": "pycolmap, same run", "date": made["date"], "hardware": made["hardware"]}
    rows: list[Row] = []
    for name, found in _read(file).items():
        rows.append({"values": _pose_values(name, "depthrf", found["ours"]), **made})
        if "defaults" in found:
            rows.append({"values": _pose_values(name, "COLMAP's defaults", found["defaults"]), **peer})
    return rows


def _pose_values(name: str, who: str, found: Mapping[str, Any]) -> dict[str, Any]:
    values = {
        "set": name,
        "who": who,
        "placed (trusted)": f"{found['placed']}/{found['photos']} ({found['trusted']})",
        "points per photo": round(found["points_per_photo"]),
        "focal, px": round(found["focal_px"]),
        "wall s": round(found["wall_seconds"], 1),
        "CPU s": round(found["cpu_seconds"], 1),
        "peak GB": round(found["peak_gb"], 2),
    }
    if errors := found["errors"]:
        turned = f"{errors['rotation_median_deg']:.2f} / {errors['rotation_max_deg']:.2f}°"
        moved = f"{100 * errors['centre_median']:.2f} / {100 * errors['centre_max']:.2f} %"
        values |= {"rotation error, median / max": turned, "camera centres, median / max": moved}
    return values


_GROWTH: dict[str, Any] = {
    "order": 25,
    "title": "Costs by the number of photos (CPU seconds a photo, most memory)",
    "command": "python -m benchmarks.growth PHOTOS... -o DIR",
    "columns": ["photos", "width, px", "depth", "align", "merge", "train, one step", "importing alone"],
    "key": ["photos", "width, px"],
    "rows": [],
    "notes": [],
}


def growth(file: Path) -> list[Row]:
    """One row a number of photos."""
    found = _read(file)
    names = {"train": "train, one step", "import": "importing alone"}
    rows: list[Row] = []
    for number, costs in found["costs"].items():
        values = {"photos": number, "width, px": found["side"]}
        for stage, cost in costs.items():
            each = cost["cpu_seconds"] / int(number)
            values[names.get(stage, stage)] = f"{each:.2f} s, {cost['peak_mb'] / 1024:.2f} GB"
        rows.append({"values": values, **results.origin("cpu")})
    return rows


def ablation(folder: Path) -> list[Row]:
    """One row a variant of each scene."""
    rows: list[Row] = []
    for scene in sorted(path for path in folder.iterdir() if path.is_dir()):
        runs = [_read(path) for path in scene.glob("*.json")]
        for run in sorted(runs, key=lambda run: int(run["order"])):
            scores = run["scores"]
            values = {
                "scene": scene.name,
                "variant": run["name"],
                "PSNR": _decimals(scores.get("psnr"), 2),
                "exposure fitted": _decimals(scores.get("psnr_exposure_fit"), 2),
                "SSIM": _decimals(scores.get("ssim"), 3),
                "depth median error, m": _decimals(scores.get("depth_median_abs_error"), 3),
            }
            rows.append({"values": _given(values), **run["origin"]})
    return rows


def peer(file: Path) -> list[Row]:
    """depthrf and nerfstudio in one run; of nerfstudio's two depths the better one."""
    result = _read(file)
    made = {key: result[key] for key in ("commit", "date", "hardware")}
    rows: list[Row] = []
    for name, run in result["runs"].items():
        mean = run["mean"]
        depths = [value for key, value in mean.items() if key.startswith("depth_median_abs_error")]
        values = {
            "program": run["name"],
            "steps": run["steps"],
            "seconds": f"{run['seconds']:.0f}",
            "rays/s": f"{run['rays_per_second']:.0f}",
            "PSNR": _decimals(mean["psnr"], 2),
            "exposure fitted": _decimals(mean["psnr_exposure_fit"], 2),
            "SSIM": _decimals(mean["ssim"], 3),
            "depth median error, m": _decimals(min(depths), 3),
        }
        source = {} if name == "depthrf" else {"source": "same run"}
        rows.append({"values": values, **source, **made})
    return rows


def gpu(file: Path) -> list[Row]:
    """One row a case; what was aimed at is not shown."""
    rows: list[Row] = []
    for row in _read(file)["rows"]:
        values = {name: value for name, value in row["values"].items() if name not in ("target", "met") and value != ""}
        rows.append({**row, "values": values})
    return rows


_BENCH: dict[str, Any] = {
    "order": 75,
    "title": "NeRF synthetic scenes",
    "command": "depthrf bench SCENE",
    "columns": ["scene", "field", "views", "loss", "trained on", "size", "PSNR", "SSIM", "published", "settings"],
    "key": ["scene", "field", "views", "loss", "trained on", "size"],
    "rows": [],
    "notes": ["Published: PSNR of the paper that introduces the cdf loss, 400x400, 50000 steps of 8192 rays."],
}


def bench(folder: Path) -> list[Row]:
    """One row a trained field and size; the table is made where there is none."""
    from depthrf.bench import published

    rows: list[Row] = []
    for path in sorted(folder.glob("*.json")):
        found = _read(path)
        settings, cell = found["settings"], found["cell"]
        optimiser, seconds = settings["optimiser"], found["train_seconds"]
        for score in found["scores"]:
            known = published.lego_psnr(cell["loss"], cell["group"])
            values = {
                "scene": settings["scene"],
                "field": settings["model"]["field"]["kind"],
                "views": cell["views"],
                "loss": cell["loss"],
                "trained on": "all sizes" if cell["training"] == "multi" else f"{settings['size']} px",
                "size": f"{score['size']} px",
                "PSNR": _decimals(score["psnr"], 2),
                "SSIM": _decimals(score["ssim"], 3),
                "published": _decimals(known, 2) if settings["scene"] == "lego" and settings["scales"] == 1 else None,
                "settings": f"{optimiser['steps']} steps of {optimiser['batch_rays']} pixels in {seconds:.0f} s, "
                f"{found['num_test']} test views",
            }
            rows.append({"values": _given(values), **results.origin(found["device"])})
    return rows


_EXPORTS: dict[str, Any] = {
    "order": 28,
    "title": "Meshes and Gaussian splats",
    "command": "python -m benchmarks.exports WORKSPACE --held-out DIR --name SET -o DIR",
    "columns": [
        "set",
        "mesh",
        "depth error, median / 90th percentile",
        "true surface within 2 %",
        "splats",
        "PSNR of splats",
        "PSNR of the field",
        "points",
        "MB: mesh / splats / points",
        "CPU s: mesh / splats / points",
    ],
    "key": ["set"],
    "rows": [],
    "notes": [
        "Mesh: seen from the demo's 24 true viewpoints, errors as shares of the depth. Splats: drawn by a plain "
        "rasteriser from four held-out places. MB: of all files of the kind; mesh and splats render the field each.",
    ],
}


def exports(file: Path) -> list[Row]:
    """One row a set."""
    found = _read(file)
    costs, mesh, splats = found["costs"], found.get("mesh"), found["splats"]
    kinds = ("mesh", "splats", "points")
    values = {
        "set": found["set"],
        "mesh": f"{costs['mesh']['count']} triangles",
        "splats": f"{costs['splats']['count']}, {splats['covered']:.1%} of the pixels",
        "PSNR of splats": _decimals(splats["psnr"], 2),
        "PSNR of the field": _decimals(splats["field"], 2),
        "points": f"{costs['points']['count']}",
        "MB: mesh / splats / points": " / ".join(f"{costs[kind]['megabytes']:.0f}" for kind in kinds),
        "CPU s: mesh / splats / points": " / ".join(f"{costs[kind]['cpu_seconds']:.0f}" for kind in kinds),
    }
    if mesh is not None:
        values["depth error, median / 90th percentile"] = f"{mesh['median']:.2%} / {mesh['percentile_90']:.2%}"
        values["true surface within 2 %"] = f"{mesh['complete']:.1%}"
    return [{"values": _given(values), **results.origin("cpu")}]


INTAKES: dict[str, tuple[str, Callable[[Path], list[Row]]]] = {
    "end-to-end": ("end_to_end", end_to_end),
    "poses": ("sfm", poses),
    "growth": ("growth", growth),
    "ablation": ("ablation", ablation),
    "peer": ("peer", peer),
    "gpu": ("gpu", gpu),
    "bench": ("bench", bench),
    "exports": ("exports", exports),
    "promises": ("promises", promises.rows),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmark", choices=INTAKES)
    parser.add_argument("path", type=Path, help="the file or folder that it has written")
    arguments = parser.parse_args()
    table, rows_of = INTAKES[arguments.benchmark]
    results.take_in(
        table, rows_of(arguments.path), new={"bench": _BENCH, "growth": _GROWTH, "exports": _EXPORTS}.get(table)
    )
    results.PAGE.write_text(results.page(), encoding="utf-8")


if __name__ == "__main__":
    main()
