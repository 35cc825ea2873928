"""Dense depth of every undistorted training photo: by a pretrained network or from maps that the user has, and by
stereo between the posed photos.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from depthrf import console
from depthrf.depth.stereo.options import StereoOptions
from depthrf.device import CHOICES as DEVICES
from depthrf.device import resolve
from depthrf.errors import UsageError
from depthrf.io.weights import manifest as weights_cache
from depthrf.options import option
from depthrf.stages.depth_sources import given_maps, network
from depthrf.stages.depth_sources import stereo as stereo_depth
from depthrf.storage import fresh_dir, remove
from depthrf.workspace import Workspace

HELP = "finds dense depth for each photo: by a network where its weights are here, and by stereo."
REQUIRES = ("sfm",)

_MAX_TILES = 8


@dataclass(frozen=True)
class Options:
    source: str = option(
        "auto",
        "where dense depth comes from; auto: stereo, and the network if its weights are here",
        choices=("auto", "network", "stereo", "none"),
    )
    network: str = option(
        "omnidata",
        "monocular depth network, used where its weights are here",
        choices=("omnidata", "midas", "depth-anything-v2-small", "none"),
    )
    tiles: int = option(
        1,
        "also predict TILES x TILES overlapping parts of each photo, for finer detail; 1: off",
        least=1,
        most=_MAX_TILES,
    )
    mono_depth: Path | None = option(
        None, "folder of your own monocular depth maps, one for each photo as taken: <photo>.npy, .png (16-bit) or .exr"
    )
    mono_kind: str = option(
        "unknown",
        "what your maps hold; metric: metres, or millimetres in PNG files",
        choices=("depth", "inverse-depth", "metric", "unknown"),
    )
    precision: str = option(
        "auto",
        "the network's arithmetic; auto: float16 on a GPU, float32 without",
        choices=("auto", "float32", "bfloat16", "float16"),
    )
    batch: int = option(
        0, "photos of one size predicted at once; 0: 8 on a GPU, else 1", least=0, most=1024, identity=False
    )
    device: str = option("auto", "where to run the network", choices=DEVICES, identity=False)
    stereo: StereoOptions = option(StereoOptions, "stereo depth from the posed photos")


@dataclass(frozen=True)
class Summary:
    """network: None when there is no monocular depth, ``precomputed`` for the user's maps; ``reason`` says why.
    num_stereo: photos with stereo depth.
    """

    network: str | None
    num_photos: int
    num_maps: int
    reason: str = ""
    device: str = "cpu"
    num_stereo: int = 0


def inputs(workspace: Workspace, options: Options) -> list[Path]:
    paths = [workspace.undistorted_images, workspace.undistorted_sparse]
    if options.mono_depth is not None:
        return [*paths, workspace.sfm_model, options.mono_depth]
    return [*paths, weights_cache.path(options.network)] if _wants_network(options) else paths


def outputs(workspace: Workspace, options: Options) -> list[Path]:
    return [workspace.mono_depth, workspace.stereo_depth]


def run(workspace: Workspace, options: Options) -> Summary:
    """Writes ``depth/mono/<stem>.npy`` with ``meta.json``, and ``depth/stereo/<stem>.npz``, each with pictures.

    What an earlier, interrupted run made from the same photos with the same options is kept.

    Raises:
        UsageError: Options contradict each other, or the folder of maps does not fit the photos.
        DepthrfError: The weights are damaged or of another network, or a photo or a map cannot be read.
    """
    from depthrf.io.poses.colmap import read_model

    names = sorted(image.name for image in read_model(workspace.undistorted_sparse).images.values())
    name, num_maps, reason = _monocular(workspace, options, names)
    num_stereo = 0
    if options.source in ("auto", "stereo"):
        num_stereo = stereo_depth.estimate_all(workspace, options.stereo, options.device)
    else:
        remove(workspace.stereo_depth)
    return Summary(name, len(names), num_maps, reason, str(resolve(options.device)), num_stereo)


def _monocular(workspace: Workspace, options: Options, names: list[str]) -> tuple[str | None, int, str]:
    """Writes monocular depth; returns the network's name, how many maps there are, and why there is none."""
    if options.mono_depth is not None:
        if options.source in ("stereo", "none"):
            raise UsageError(
                f"mono_depth gives monocular depth and source asks for {options.source}: choose one of them."
            )
        kind = options.mono_kind.replace("-", "_")
        return given_maps.NETWORK, given_maps.import_all(workspace, options.mono_depth, kind), ""
    reason = _reason_to_skip(workspace, options)
    if reason:
        fresh_dir(workspace.mono_depth)
        return None, 0, reason
    network.predict_all(
        workspace,
        names,
        network=options.network,
        tiles=options.tiles,
        precision=options.precision,
        batch=options.batch,
        device=options.device,
    )
    return options.network, len(names), ""


def _wants_network(options: Options) -> bool:
    return options.network != "none" and options.source in ("auto", "network")


def _reason_to_skip(workspace: Workspace, options: Options) -> str:
    if not _wants_network(options):
        return "not wanted"
    file = weights_cache.path(options.network)
    if file.is_file():
        return ""
    entry = weights_cache.find(options.network)
    others = "SfM keypoints and sensor depth" if workspace.sensor_depth.is_dir() else "SfM keypoints"
    if options.source == "auto":
        others = f"stereo depth from the posed photos, {others}"
    console.note(
        f"no monocular depth: weights of {entry.title} not found in {file.parent}; "
        f"`depthrf weights fetch {entry.name}` downloads them (licence: {entry.licence}). Going on with {others}."
    )
    return f"no weights at {file}"
