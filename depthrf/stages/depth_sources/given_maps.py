"""Monocular depth from maps that the user has already."""

from __future__ import annotations

from pathlib import Path

from depthrf import console
from depthrf.io.depth.reports import MonoMeta
from depthrf.stages.depth_sources.mono_files import write_mono_map
from depthrf.storage import fingerprint, fresh_dir, write_json
from depthrf.workspace import Workspace

NETWORK = "precomputed"
"""What ``depth/mono/meta.json`` names instead of a network."""


def import_all(workspace: Workspace, folder: Path, kind: str) -> int:
    """Brings maps of the photos as taken onto the grids of the undistorted photos; returns how many there are.

    Raises:
        UsageError: The folder does not fit the photos.
        DepthrfError: A map is damaged or of another shape than its photo.
    """
    from depthrf.depth.resampling import to_undistorted
    from depthrf.io.depth.mono_maps import find_maps, read_mono_map
    from depthrf.io.poses.colmap import load_scene, read_model

    views = load_scene(workspace.undistorted_sparse).views
    model = read_model(workspace.sfm_model)
    files = find_maps(folder, [view.name for view in views])
    fresh_dir(workspace.mono_depth)
    for view in console.track([v for v in views if v.name in files], "reading depth maps"):
        lens = model.lens_of(view)
        values = read_mono_map(files[view.name], kind, lens)
        write_mono_map(workspace, view.name, to_undistorted(values, view.camera, lens, smooth=True), kind)
    made = {Path(name).stem: fingerprint(file) for name, file in files.items()}
    write_json(workspace.mono_meta, MonoMeta(NETWORK, kind, photos=made))
    return len(files)
