"""check: will these photos do? A look at small copies, in seconds, without a workspace and without writing anything."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from depthrf import console
from depthrf.stages.ingest import Options
from depthrf.workspace import write_json

if TYPE_CHECKING:
    from rich.table import Table

    from depthrf.io.photo_folder import Rejected, UsablePhoto
    from depthrf.sfm.preflight import Pairs, PhotoVerdict, Report, Seen

_SIDE = 800  # pixels
_KEYPOINTS = 3000
_MANY_PHOTOS, _KEYPOINTS_OF_MANY = 24, 2000  # time grows with the square of both


@dataclass(frozen=True)
class Checked:
    """The verdict on a folder of photos, and its files that are not used."""

    report: Report
    rejected: tuple[Rejected, ...]
    seconds: float


def run(source: Path, masks: Path | None = None, frames: int = Options().frames) -> Checked:
    """Looks at the photos of a folder or export, or at frames of a video, and prints what it finds.

    Args:
        source: The folder, video or export with poses.
        masks, frames: As :class:`depthrf.stages.ingest.Options` has them.

    Raises:
        UsageError: Photos or masks do not exist or are of another kind.
        DepthrfError: A video cannot be decoded, or a mask does not fit its photo.
    """
    from depthrf.io.clip import check_source

    start = time.monotonic()
    check_source(source)
    with tempfile.TemporaryDirectory(prefix="depthrf-check-") as scratch:
        good, rejected = _photos(source, frames, Path(scratch))
        report = _check(source, good, masks)
    return Checked(report, tuple(rejected), round(time.monotonic() - start, 1))


def _photos(source: Path, frames: int, scratch: Path) -> tuple[list[UsablePhoto], list[Rejected]]:
    """What ``ingest`` would use of a folder, a video or an export with poses; a video's frames go to ``scratch``."""
    from depthrf.io.clip import take_frames
    from depthrf.io.photo_folder import examine_photos, list_files
    from depthrf.stages.ingest_capture import find

    if not source.is_dir():
        return take_frames(source, scratch, frames)[0], []
    capture = find(source, Options().max_photos, None)
    if capture is None:
        return examine_photos(list_files(source, "photo folder"))
    console.note(f"{capture.kind} found: {len(capture.shots)} photos with poses")
    if capture.shots[0].frame is not None:
        return take_frames(capture.shots[0].photo, scratch, frames)[0], []
    return examine_photos([shot.photo for shot in capture.shots])


def _check(source: Path, good: list[UsablePhoto], given_masks: Path | None) -> Report:
    import cv2

    from depthrf.io.masks import find_masks
    from depthrf.io.photo_folder import in_threads
    from depthrf.sfm.preflight import judge

    masks = find_masks(source, [p.path.name for p in good], given_masks)
    count = _KEYPOINTS if len(good) <= _MANY_PHOTOS else _KEYPOINTS_OF_MANY
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # the photos are the parallel work
    try:
        seen = in_threads("looking at photos", lambda photo: _look(photo, masks.get(photo.path.name), count), good)
        pairs = _match_all(seen)
    finally:
        cv2.setNumThreads(threads)
    report = judge(seen, pairs)
    _print(report)
    return report


def write_json_report(path: Path, checked: Checked) -> None:
    """Everything that was found, for scripts: verdict, advice, findings, photos, links, groups, files not used."""
    report = {f.name: getattr(checked.report, f.name) for f in fields(checked.report)}
    write_json(path, {**report, "rejected": checked.rejected, "seconds": checked.seconds})


def _look(photo: UsablePhoto, mask: Path | None, count: int) -> Seen:
    import cv2

    from depthrf.io.images import read_rgb
    from depthrf.io.masks import nearest, read_upright_mask
    from depthrf.sfm.photo_quality import measure_quality
    from depthrf.sfm.preflight import Seen
    from depthrf.sfm.quick_match import find_keypoints

    info = photo.info
    scale = min(1.0, _SIDE / max(info.width, info.height))
    size = (max(1, round(info.width * scale)), max(1, round(info.height * scale)))
    rgb = cv2.resize(read_rgb(photo.path), size, interpolation=cv2.INTER_AREA)
    focal = info.focal_px * scale if info.focal_px else None
    used = nearest(read_upright_mask(photo, mask), *size) if mask else None
    keypoints = find_keypoints(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), count, focal_px=focal, used=used)
    return Seen(
        photo.path.name, info.width, info.height, info.focal_px, info.camera_name, measure_quality(rgb), keypoints
    )


def _match_all(seen: Sequence[Seen]) -> Pairs:
    from depthrf.io.photo_folder import in_threads
    from depthrf.sfm.quick_match import match_pair

    couples = list(combinations(seen, 2))
    found = in_threads("matching pairs", lambda c: match_pair(c[0].keypoints, c[1].keypoints), couples)
    return {(a.name, b.name): pair for (a, b), pair in zip(couples, found, strict=True)}


def _print(report: Report) -> None:
    if report.photos:
        console.console().print(_table(report.photos))
    for finding in report.findings[1:]:
        console.note(f"  {finding.what} {finding.advice}")
    if report.weakest_link is not None:
        link = report.weakest_link
        console.note(f"  weakest link: {link.first} and {link.second}, {link.num_matches} matches")


def _table(photos: Sequence[PhotoVerdict]) -> Table:
    """One row a photo; what is the same for all of them stands in the title."""
    from rich.markup import escape
    from rich.table import Table

    cells = {
        "photo": [p.name for p in photos],
        "pixels": [f"{p.width}×{p.height}" for p in photos],
        "camera": [p.camera or "-" for p in photos],
        "focal px": [f"{p.focal_px:.0f}" if p.focal_px else "-" for p in photos],
        "blur px": [_number(p.blur_px, ".1f") for p in photos],
        "stops": [_number(p.stops, "+.1f") for p in photos],
        "links": [str(p.num_links) for p in photos],
        "best with": [p.best or "-" for p in photos],
        "matches": [str(p.matches) for p in photos],
        "angle": [_number(p.angle_deg, ".0f", "°") for p in photos],
        "remarks": [", ".join(p.remarks) for p in photos],
    }
    same = [name for name in ("pixels", "camera", "focal px") if len(set(cells[name])) == 1]
    common = [f"{name} {cells[name][0]}" for name in same if cells[name][0] != "-"]
    unknown = "" if any(p.focal_px for p in photos) else "no focal length in EXIF"
    title = "; ".join(filter(None, [f"{len(photos)} photos", *common, unknown]))
    table = Table(title=title, title_justify="left", title_style="", box=None, pad_edge=False, header_style="bold")
    for name in (n for n in cells if n not in same):
        words = name in ("photo", "camera", "best with", "remarks")
        width = max(map(len, cells[name])) if words and name != "remarks" else None
        style = "yellow" if name == "remarks" else ""
        table.add_column(name, justify="left" if words else "right", style=style, min_width=width)
    for row in zip(*(column for name, column in cells.items() if name not in same), strict=True):
        table.add_row(*map(escape, row))
    return table


def _number(value: float, form: str, unit: str = "") -> str:
    return "-" if value != value else f"{value:{form}}{unit}"
