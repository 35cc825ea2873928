"""What there is to ingest: the photos of a plain folder or of an export, and the files that belong to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from depthrf.console import note, warn
from depthrf.errors import DepthrfError
from depthrf.stages.ingesting.capture import chosen_photos
from depthrf.stages.ingesting.holdout import chosen_names

if TYPE_CHECKING:
    from depthrf.io.captures.capture import Capture, SensorFile
    from depthrf.io.photos.folder import Rejected
    from depthrf.io.photos.table import PhotoEntry
    from depthrf.stages.ingesting.options import Options

# Where exports keep their photos, for those whose poses cannot be used.
_PHOTO_FOLDERS = ("images", "rgb", "color", "keyframes/corrected_images", "keyframes/images", "EXR_RGBD/rgb", "rgbd")
_REDUCED = "images_[0-9]*"
_NO_POSES = "To use its photos without these poses: --no-export-poses"


@dataclass(frozen=True)
class Material:
    """Files to ingest.

    Attributes:
        folder: Where the photos lie, for names relative to it.
        photos: Files that may be photos.
        capture: The export they come from; None for a plain folder.
        whole: The export before some of its photos were chosen.
        masks, depths: What the export names or lies among the photos, by photo.
        entries: Files that are no photos, with their fate.
        left_out: Photos that the export lists or holds and that are not used.
        spare: Photos of a plain folder that ``max_photos`` leaves out.
        held_out: Photos of a plain folder that do not train, where they were chosen before some were left out.
    """

    folder: Path
    photos: list[Path]
    capture: Capture | None = None
    whole: Capture | None = None
    masks: Mapping[Path, Path] = field(default_factory=dict)
    depths: Mapping[Path, SensorFile] = field(default_factory=dict)
    entries: tuple[PhotoEntry, ...] = ()
    left_out: tuple[Rejected, ...] = ()
    spare: frozenset[Path] = frozenset()
    held_out: frozenset[Path] | None = None

    @property
    def referred(self) -> frozenset[Path]:
        """Photos that masks or depth maps belong to."""
        return frozenset((*self.masks, *self.depths))

    @property
    def files(self) -> list[Path]:
        """Everything that is read, apart from masks in folders of their own."""
        if self.capture is not None:
            return self.capture.files
        from depthrf.io.photos.folder import why_no_photo

        photos = [path for path in self.photos if why_no_photo(path) is None]
        return [*photos, *self.masks.values(), *(sensor.path for sensor in self.depths.values())]


def look(source: Path, options: Options, *, quiet: bool = False) -> Material:
    """Finds out what a folder holds.

    Args:
        source: The photo folder.
        options: Which photos of an export, and whether its poses, are used.
        quiet: Whether to say nothing.

    Raises:
        UsageError: The folder does not exist, or it is an export that is not as its program writes it.
    """
    from depthrf.io.captures.registry import find_capture

    try:
        whole = find_capture(source, options.model, outside=options.allow_outside)
    except DepthrfError as e:
        if not options.export_poses:
            if not quiet:
                warn(f"{e} Its poses and sensor depth are left out.")
            return _thinned(_plain(_photo_folder(source), options), options, quiet=quiet)
        raise type(e)(f"{e} {_NO_POSES}") from e
    if whole is not None:
        return of_capture(chosen_photos(whole, options), whole)
    return _thinned(_plain(source, options), options, quiet=quiet)


def of_capture(capture: Capture, whole: Capture) -> Material:
    """What an export brings: ``capture`` are its chosen photos."""
    from depthrf.io.naming import shown
    from depthrf.io.photos.folder import Rejected

    return Material(
        folder=capture.root,
        photos=[shot.photo for shot in capture.shots],
        capture=capture,
        whole=whole,
        masks={shot.photo: shot.mask for shot in capture.shots if shot.mask is not None},
        depths={shot.photo: shot.sensor for shot in capture.shots if shot.sensor is not None},
        left_out=tuple(Rejected(shown(photo.name), photo.reason) for photo in capture.left_out),
    )


def _plain(folder: Path, options: Options) -> Material:
    from depthrf.io.captures.capture import SensorFile
    from depthrf.io.companions import sort_out
    from depthrf.io.naming import shown
    from depthrf.io.photos.folder import list_files
    from depthrf.io.photos.table import PhotoEntry

    found = sort_out(list_files(folder, "photo folder"))
    depths, entries = {}, []
    for photo, mask in found.masks.items():
        entries.append(PhotoEntry(shown(mask.name), None, "mask", f"the mask of {shown(photo.name)}"))
    for photo, path in found.depths.items():
        what = f"the depth map of {shown(photo.name)}"
        if _holds_depth(path):
            depths[photo] = SensorFile(path, metres_per_count=options.depth_unit)
            entries.append(PhotoEntry(shown(path.name), None, "depth", what))
        else:
            reason = f"named like {what}, but a picture of 8 bits: not used"
            entries.append(PhotoEntry(shown(path.name), None, "rejected", reason))
    return Material(folder, found.photos, masks=found.masks, depths=depths, entries=tuple(entries))


def _thinned(plain: Material, options: Options, *, quiet: bool) -> Material:
    """The folder with the photos that ``holdout`` means, and at most ``max_photos`` of the others, at equal steps.

    Raises:
        UsageError: ``holdout`` names no split of these photos.
    """
    from depthrf.io.naming import shown
    from depthrf.io.photos.folder import Rejected, why_no_photo
    from depthrf.sfm.preflight.thinning import at_equal_steps

    photos = {path.name: path for path in plain.photos if why_no_photo(path) is None}
    test = chosen_names(options.holdout, list(photos)) if options.holdout else set()
    train = [path for name, path in photos.items() if name not in test]
    if options.max_photos is None or len(train) <= options.max_photos:
        return plain
    spare = frozenset(train) - {train[i] for i in at_equal_steps(len(train), options.max_photos)}
    if not quiet:
        note(f"  of {len(train)} photos {options.max_photos} are used, at equal steps (--max-photos)")
    return replace(
        plain,
        photos=[path for path in plain.photos if path not in spare],
        masks={photo: mask for photo, mask in plain.masks.items() if photo not in spare},
        depths={photo: sensor for photo, sensor in plain.depths.items() if photo not in spare},
        left_out=tuple(Rejected(shown(path.name), "left out by --max-photos") for path in train if path in spare),
        spare=spare,
        held_out=frozenset(photos[name] for name in test),
    )


def _holds_depth(path: Path) -> bool:
    """Whether a file that is named like a depth map can be one: more than 8 bits, one channel."""
    from PIL import Image

    if path.suffix.lower() in (".npy", ".exr"):
        return True
    try:
        with Image.open(path) as image:
            return image.mode.startswith("I")
    except Exception:  # what cannot be read is no depth map
        return False


def _photo_folder(folder: Path) -> Path:
    """The folder with the photos of an export whose files cannot be used."""
    from depthrf.io.captures.capture import PICTURES, files_by_stem

    reduced = sorted(folder.glob(_REDUCED), key=lambda path: (len(path.name), path.name))
    places = [*(folder / name for name in _PHOTO_FOLDERS), *reduced]
    return next((place for place in places if files_by_stem(place, *PICTURES)), folder)
