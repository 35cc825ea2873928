"""``report.html``: one file that needs neither a server nor the network, and ``report.json`` with the same facts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from depthrf import console
from depthrf.report import figures, pictures
from depthrf.report.facts import Report
from depthrf.storage import atomic_open, write_json
from depthrf.workspace import Workspace

_THUMBNAIL, _OVERLAY, _TRIPTYCH = 320, 900, 1100  # pixels on the longer side
_SHRUNK = 2 / 3  # of these sizes where there are many photos, to keep the page small
_MANY_PHOTOS = 40


@dataclass(frozen=True)
class _PhotoPictures:
    photo: str | None
    prior: str | None


def write_report(workspace: Workspace, report: Report) -> Path:
    """Writes ``report.json`` and ``report.html`` and returns the page's path."""
    write_json(workspace.root / "report.json", report)
    page = workspace.root / "report.html"
    with atomic_open(page) as handle:
        handle.write(render_page(workspace, report))
    return page


def render_page(workspace: Workspace, report: Report) -> str:
    """The page as HTML; names and texts of the run are escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    from depthrf import __version__
    from depthrf.plot import poses

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["whole_flags"] = _whole_flags
    scene = _cameras(workspace)
    size = _SHRUNK if len(report.photos) > _MANY_PHOTOS else 1.0
    return environment.get_template("page.html").render(
        report=report,
        version=__version__,
        film=pictures.film(workspace.video),
        film_name=workspace.relative(workspace.video) if workspace.video.is_file() else None,
        poster=_poster(workspace),
        photos={photo.name: _pictures_of(workspace, photo.name, size) for photo in report.photos},
        files={file.name: _thumbnail_of(workspace, file.name, size) for file in report.files if file.name},
        views={view.name: _triptych(workspace, view.name) for view in report.views},
        cameras=None if scene is None else Markup(poses.scene_json(scene, report.scene)),
        script=Markup(poses.script()),
        figures=_figures(report, scene),
        duration=console.duration,
    )


def _whole_flags(text: str) -> Any:
    """The escaped text with its flags (``--pipeline``) marked, for browsers break lines after hyphens."""
    from markupsafe import Markup, escape

    parts = re.split(r"((?<!\S)--?\w[\w-]*)", text)
    return Markup("").join(
        Markup('<span class="flag">{}</span>').format(p) if i % 2 else escape(p) for i, p in enumerate(parts)
    )


def _figures(report: Report, scene: Any) -> dict[str, Any]:
    """The SVG figures by name; empty where there is nothing to draw."""
    from markupsafe import Markup

    positions = {} if scene is None else {f.name: f.centre[:2] for f in scene.frusta if not f.held_out}
    drawn = {
        "training": figures.training_curve(report.training) if len(report.training) > 1 else "",
        "trust": figures.trust_along_path(report.trust) if len(report.trust) > 1 else "",
        "stages": figures.stage_bars(report.stages) if report.stages else "",
        "pairs": figures.pair_graph(positions, report.pairs) if report.pairs else "",
    }
    return {name: Markup(svg) for name, svg in drawn.items()}


def _cameras(workspace: Workspace) -> Any:
    from depthrf.plot.scene import load_scene

    return load_scene(workspace.root) if workspace.transforms.is_file() else None


def _pictures_of(workspace: Workspace, name: str, size: float) -> _PhotoPictures:
    stem = Path(name).stem
    prior = workspace.prior_depth / "overlays" / f"{stem}.jpg"
    return _PhotoPictures(
        pictures.thumbnail(workspace.undistorted_images / name, round(size * _THUMBNAIL)),
        pictures.thumbnail(prior, round(size * _OVERLAY)),
    )


def _thumbnail_of(workspace: Workspace, name: str, size: float) -> str | None:
    return pictures.thumbnail(workspace.images / name, round(size * _THUMBNAIL / 2))


def _triptych(workspace: Workspace, name: str) -> str | None:
    return pictures.thumbnail(workspace.evaluation_dir / f"{Path(name).stem}.png", _TRIPTYCH)


def _poster(workspace: Workspace) -> str | None:
    """The frame that stands for the film."""
    return pictures.thumbnail(workspace.render / "poster.jpg", 960)
