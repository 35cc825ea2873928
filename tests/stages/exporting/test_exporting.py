"""Exports, read back by programs that are not ours."""

from __future__ import annotations

import gzip
import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from depthrf.errors import DepthrfError, UsageError
from depthrf.geometry.camera import Camera, DepthPrior, View
from depthrf.geometry.visibility import SeenDepth, pixels_of
from depthrf.io.depth.depth_maps import write_prior
from depthrf.io.gaussians import Gaussians
from depthrf.io.photos.images import read_rgb, write_png
from depthrf.io.poses.transforms_json import write_transforms
from depthrf.stages import export
from depthrf.stages.exporting.mesh import fuse, upright, write_meshes
from depthrf.stages.exporting.rasteriser import render_splats
from depthrf.stages.exporting.splats import surface_gaussians, write_splats
from depthrf.stages.exporting.surfaces import RenderedPhoto, judge, without_edges
from depthrf.stages.exporting.target import Target, in_unit
from depthrf.storage import write_json
from depthrf.workspace import Workspace
from tests.scenes.room import CAMERA, depth_map, make_workspace, views


def colour_at(points: NDArray[np.float64]) -> NDArray[np.uint8]:
    """A smooth colour of every place, so that pictures of one place agree."""
    waves = np.stack([np.sin(2 * points[..., 0]), np.cos(3 * points[..., 1]), np.sin(2 * points[..., 2] + 1)], -1)
    return np.asarray(128 + 100 * waves, dtype=np.uint8)


def picture_of(view: View) -> RenderedPhoto:
    depth = depth_map(view)
    photo = RenderedPhoto(view, np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8), depth, depth)
    return replace(photo, rgb=colour_at(photo.points()))


def target(workspace: Workspace, *, unit: float = 1.0) -> Target:
    folder = workspace.root / "export"
    folder.mkdir(exist_ok=True)
    return Target(workspace, views(), folder, unit, "metres" if unit != 1.0 else "scene", 0.05, 0.0, 20_000, "cpu")


def distance_to_surfaces(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """From the floor z = 0.1 x and the wall y = 1.5 of the scene."""
    x, y, z = points.T
    distance: NDArray[np.float64] = np.minimum(np.abs(z - 0.1 * x) / np.hypot(1.0, 0.1), np.abs(y - 1.5))
    return distance


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = make_workspace(tmp_path / "w")
    for view in views():
        depth = depth_map(view)
        prior = DepthPrior(depth, (0.01 * depth).astype(np.float32))
        write_prior(made.prior_depth / f"{view.stem}.npz", prior, np.ones(depth.shape, np.uint8))
        write_png(made.undistorted_images / view.name, picture_of(view).rgb)
    write_transforms(made.transforms, views(), image_folder="undistorted/images", test_names={views()[0].name})
    write_json(made.scale, {"metres_per_unit": 0.5})
    return made


def test_a_mesh_lies_on_the_surfaces_in_all_formats(workspace: Workspace) -> None:
    import trimesh

    write_meshes(target(workspace, unit=0.5), [picture_of(view) for view in views()])
    for ending in ("ply", "obj"):
        mesh: Any = trimesh.load(workspace.root / "export" / f"mesh.{ending}", process=False)
        assert 1000 < len(mesh.faces) <= 20_000
        off = distance_to_surfaces(np.asarray(mesh.vertices) / 0.5)
        # The scene is about 3 units away; its far corner is rounded by the distance function.
        assert np.median(off) < 0.01
        assert np.quantile(off, 0.95) < 0.06
    read = np.asarray(mesh.visual.vertex_colors)[:, :3].astype(int)
    assert np.median(np.abs(read - colour_at(np.asarray(mesh.vertices) / 0.5))) < 10


def test_glb_stands_upright_and_shows_its_colours(workspace: Workspace) -> None:
    import trimesh

    write_meshes(target(workspace), [picture_of(view) for view in views()])
    scene: Any = trimesh.load(workspace.root / "export" / "mesh.glb")
    (mesh,) = scene.geometry.values()
    floor = mesh.vertices[distance_to_surfaces_upright(mesh.vertices)]
    normal = np.linalg.svd(floor - floor.mean(0))[2][2]
    assert abs(normal[1]) > 0.8  # the floor's normal is glTF's y axis, up to the tilt at which the photos were held
    content = (workspace.root / "export" / "mesh.glb").read_bytes()
    document = json.loads(content[20 : 20 + int.from_bytes(content[12:16], "little")])
    assert document["extensionsUsed"] == ["KHR_materials_unlit"]
    assert int.from_bytes(content[8:12], "little") == len(content)


def distance_to_surfaces_upright(vertices: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The lower half of the mesh: the floor."""
    return np.asarray(vertices[:, 1] < np.median(vertices[:, 1]))


def test_upright_turns_without_mirroring() -> None:
    mesh = fuse([picture_of(view) for view in views()], 1.0, 20_000)
    turned = upright(mesh, views())
    first, second = mesh.vertices[:50], turned.vertices[:50]
    rotation = np.linalg.lstsq(first, second, rcond=None)[0].T
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-6)
    assert np.linalg.det(rotation) > 0
    ups = np.stack([rotation @ -view.cam_from_world[1, :3] for view in views()])
    assert (ups[:, 1] > 0.7).all()


def test_islands_and_empty_depth_make_no_mesh() -> None:
    lone = picture_of(views()[0])
    depth = np.zeros_like(lone.depth)
    depth[10:13, 10:13] = 1.0
    assert len(fuse([replace(lone, depth=np.zeros_like(depth))], 1.0, 1000).triangles) == 0
    whole = [picture_of(view) for view in views()]
    near = whole[0].depth.copy()
    near[30:33, 40:43] *= 0.4  # a flying patch before the wall
    mesh = fuse([replace(whole[0], depth=near), *whole[1:]], 1.0, 20_000)
    assert np.quantile(distance_to_surfaces(mesh.vertices), 0.995) < 0.2


def test_depth_at_edges_is_left_out() -> None:
    depth = np.full((6, 9), 2.0, np.float32)
    depth[:, 4], depth[:, 5:] = 2.5, 3.0  # a pixel between two surfaces
    depth[0, 0] = 0.0
    kept = without_edges(depth)
    assert (kept[:, 3:6] == 0).all()
    assert (kept[:, :3] == depth[:, :3]).all()  # next to unknown depth, too
    assert (kept[:, 6:] == 3.0).all()
    slanted = np.tile(np.linspace(1.0, 2.0, 40, dtype=np.float32), (6, 1))
    np.testing.assert_array_equal(without_edges(slanted), slanted)


def test_depth_that_nobody_contests_is_kept_for_splats_alone() -> None:
    photos = [picture_of(view) for view in views()]
    own, *others = photos
    wrong = own.uncontested.copy()
    wrong[10:20, 10:20] *= 0.8  # before the surface: the other renderings look through it
    own = replace(own, depth=wrong, uncontested=wrong)
    seen = [SeenDepth(p.view, p.depth, np.float32(0.01) * p.depth) for p in (own, *others)]
    known = own.depth.copy()
    known[:, CAMERA.width // 2 :] = 0.0
    prior = SeenDepth(own.view, known, np.float32(0.01) * known)
    blank = SeenDepth(others[0].view, np.zeros_like(known), np.zeros_like(known))
    judged = judge(own, [prior, blank], seen)
    assert (judged.depth[:, CAMERA.width // 2 :] == 0).all()
    assert (judged.depth[:, : CAMERA.width // 2] > 0).mean() > 0.9
    assert (judged.uncontested[judged.depth > 0] > 0).all()
    assert (judged.uncontested[:, CAMERA.width // 2 :] > 0).mean() > 0.8
    contested = judge(own, [blank], seen)
    assert (contested.uncontested[12:18, 12:18] == 0).all()


def test_splats_of_photos_that_differ_have_no_borders() -> None:
    bright, dark = (picture_of(view) for view in views()[:2])
    photos = [replace(p, rgb=np.full_like(p.rgb, grey)) for p, grey in ((bright, 200), (dark, 100))]
    found = surface_gaussians(photos, 2.0, spacing=0.06)
    grey = 255.0 * found.colors[:, 0]
    in_camera = found.centres / 2.0 @ dark.view.cam_from_world[:3, :3].T + dark.view.cam_from_world[:3, 3]
    assert np.quantile(grey, 0.02) >= 99.0
    assert np.quantile(grey, 0.98) <= 206.0
    x, y = dark.view.camera.project(in_camera).T
    margin = 3.0
    both = (x > margin) & (x < CAMERA.width - margin) & (y > margin) & (y < CAMERA.height - margin)
    assert both.mean() > 0.5
    between = (grey > 110) & (grey < 190)
    assert between[both].mean() > 0.8


def test_surfaces_are_made_of_the_rendering_that_shows_them_largest() -> None:
    far = picture_of(views()[0])
    pose = far.view.cam_from_world.copy()
    pose[2, 3] -= 0.6  # nearer
    near = picture_of(View("near.png", far.view.camera, pose))
    alone, both = (surface_gaussians(photos, 1.0, spacing=0.02) for photos in ([near], [near, far]))
    inside = pixels_of(both.centres, near.view)[0]
    assert len(inside) == pytest.approx(len(alone.centres), rel=0.02)
    assert len(both.centres) > len(inside) + 100  # beside the near one's picture the far one's stay


def test_colours_of_splats_make_up_for_their_blur(monkeypatch: pytest.MonkeyPatch) -> None:
    photos = [picture_of(view) for view in views()]
    view, errors = photos[0].view, []
    for passes in (0, 2):
        monkeypatch.setattr("depthrf.stages.exporting.splats._FITS", passes)
        color, opacity = rasterised(surface_gaussians(photos, 0.5, spacing=0.03), scaled(view, 0.5))
        errors.append(np.square(color - photos[0].rgb / 255.0)[opacity > 0.9].mean())
    assert errors[1] < 0.6 * errors[0]


def scaled(view: View, unit: float) -> View:
    return replace(view, cam_from_world=in_unit(view.cam_from_world, unit))


def rasterised(gaussians: Gaussians, view: View) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A plain renderer of splats: EWA projection, sorted front to back; colour (H, W, 3) and opacity (H, W)."""
    camera: Camera = view.camera
    rotation, translation = view.cam_from_world[:3, :3], view.cam_from_world[:3, 3]
    centres = gaussians.centres @ rotation.T + translation
    color = np.zeros((camera.height, camera.width, 3))
    light = np.ones((camera.height, camera.width))
    axes = Rotation.from_quat(gaussians.quaternions, scalar_first=True).as_matrix() * gaussians.scales[:, None]
    for index in np.argsort(centres[:, 2]):
        x, y, z = centres[index]
        if z < 0.1:
            continue
        jacobian = np.array([[camera.fx / z, 0, -camera.fx * x / z**2], [0, camera.fy / z, -camera.fy * y / z**2]])
        half = jacobian @ rotation @ axes[index]
        covariance = half @ half.T + 0.3 * np.eye(2)
        u, v = camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy
        radius = 3.0 * np.sqrt(np.linalg.eigvalsh(covariance)[1])
        columns = slice(max(0, int(u - radius)), max(0, int(u + radius) + 1))
        rows = slice(max(0, int(v - radius)), max(0, int(v + radius) + 1))
        inside = light[rows, columns]
        if not inside.size:
            continue
        grid = np.stack(
            np.meshgrid(np.arange(camera.width)[columns] + 0.5 - u, np.arange(camera.height)[rows] + 0.5 - v), -1
        )
        power = np.einsum("...i,ij,...j", grid, np.linalg.inv(covariance), grid)
        alpha = gaussians.opacities[index] * np.exp(-0.5 * power)
        color[rows, columns] += (inside * alpha)[..., None] * gaussians.colors[index]
        light[rows, columns] = inside * (1.0 - alpha)
    return color, 1.0 - light


def test_splats_show_a_view_that_they_were_not_made_from() -> None:
    held_out, *rest = (picture_of(view) for view in views())
    gaussians = surface_gaussians(rest, 1.0, spacing=0.06)
    color, opacity = rasterised(gaussians, held_out.view)
    again, covered = render_splats(gaussians, held_out.view)
    np.testing.assert_allclose(again, color, atol=0.03)
    np.testing.assert_allclose(covered, opacity, atol=0.03)
    solid = opacity > 0.9
    assert solid.mean() > 0.7
    truth = held_out.rgb / 255.0
    shown = color + (1.0 - opacity[..., None]) * truth  # what no splat covers is not judged
    psnr = -10.0 * np.log10(np.mean((shown - truth)[solid] ** 2))
    assert psnr > 33.0


def test_splats_read_as_3dgs_files_are_read(workspace: Workspace) -> None:
    from plyfile import PlyData

    photos = [picture_of(view) for view in views()]
    write_splats(target(workspace, unit=0.5), photos)
    vertex = PlyData.read(str(workspace.root / "export" / "splats.ply"))["vertex"]
    centres = np.stack([vertex[name] for name in ("x", "y", "z")], 1)
    assert np.median(distance_to_surfaces(centres / 0.5)) < 0.02
    color = 0.5 + 0.28209479 * np.stack([vertex[f"f_dc_{i}"] for i in range(3)], 1)
    assert np.median(np.abs(255 * color - colour_at(centres / 0.5))) < 8
    np.testing.assert_allclose(1 / (1 + np.exp(-vertex["opacity"])), 0.95, atol=1e-5)
    quaternion = np.stack([vertex[f"rot_{i}"] for i in range(4)], 1).astype(np.float64)
    thin = Rotation.from_quat(quaternion, scalar_first=True).apply([0.0, 0.0, 1.0])
    normals = np.stack([vertex[name] for name in ("nx", "ny", "nz")], 1)
    np.testing.assert_allclose(thin, normals, atol=1e-5)
    floor = np.abs(centres[:, 2] - 0.1 * centres[:, 0]) < 0.005
    assert np.median(normals[floor] @ np.array([-0.1, 0.0, 1.0])) > 0.9  # outwards is up
    scales = np.exp(np.stack([vertex[f"scale_{i}"] for i in range(3)], 1))
    assert (scales[:, 2] < 0.2 * scales[:, 0]).all()


def test_spz_holds_the_same_splats_with_y_up(workspace: Workspace) -> None:
    gsply = pytest.importorskip("gsply", reason="needs the extra depthrf[spz]")
    photos = [picture_of(view) for view in views()]
    write_splats(target(workspace), photos)
    folder = workspace.root / "export"
    threads = torch.get_num_threads()
    ply, spz = gsply.plyread(str(folder / "splats.ply")), gsply.read_spz(str(folder / "splats.spz"))
    torch.set_num_threads(threads)  # numba's are torch's too
    content = gzip.decompress((folder / "splats.spz").read_bytes())
    magic, _, count, degree, bits, _, _ = struct.unpack("<4sIIBBBB", content[:16])
    assert (magic, count, degree) == (b"NGSP", len(ply.means), 0)
    packed = np.frombuffer(content[16 : 16 + 9 * count], np.uint8).reshape(count, 3, 3).astype(np.int64)
    fixed = packed @ np.array([1, 256, 65536])
    centres = np.where(fixed >= 2**23, fixed - 2**24, fixed) / 2.0**bits
    half_turn = np.diag([1.0, -1.0, -1.0])
    np.testing.assert_allclose(centres @ half_turn, ply.means, atol=1e-5)
    np.testing.assert_allclose(spz.scales, ply.scales, atol=0.04)
    np.testing.assert_allclose(spz.sh0, ply.sh0, atol=0.02)
    axes = [Rotation.from_quat(q, scalar_first=True).as_matrix()[..., 2] for q in (spz.quats, ply.quats)]
    assert np.abs((axes[0] @ half_turn * axes[1]).sum(-1)).min() > 0.99
    assert (folder / "splats.spz").stat().st_size < 0.4 * (folder / "splats.ply").stat().st_size


def test_colmap_reads_the_model(workspace: Workspace) -> None:
    from depthrf.sfm.child._pycolmap import pycolmap

    export.run(workspace, export.Options(what=("colmap",), units="metres"))
    folder = workspace.root / "export" / "colmap"
    model = pycolmap.Reconstruction(folder / "sparse" / "0")
    assert model.num_reg_images() == len(views())
    for image in model.images.values():
        assert (folder / "images" / image.name).is_file()
        assert image.camera.model_name == "PINHOLE"
        (view,) = (v for v in views() if v.name == image.name)
        np.testing.assert_allclose(image.projection_center(), 0.5 * view.centre, atol=1e-6)
    assert model.compute_mean_reprojection_error() < 2.0


def test_nerfstudio_finds_photos_depth_and_split(workspace: Workspace) -> None:
    """As `nerfstudio/data/dataparsers/nerfstudio_dataparser.py` reads: paths relative to the file, depth in counts of
    `depth_unit_scale_factor`, OpenGL axes."""
    import cv2

    write_png(workspace.undistorted_masks / f"{views()[1].name}.png", np.full((72, 96), 255, np.uint8))
    export.run(workspace, export.Options(what=("nerfstudio",), units="metres"))
    folder = workspace.root / "export" / "nerfstudio"
    content = json.loads((folder / "transforms.json").read_text(encoding="utf-8"))
    assert content["test_filenames"] == [f"images/{views()[0].name}"]
    by_name = {view.name: view for view in views()}
    for frame in content["frames"]:
        view = by_name[Path(frame["file_path"]).name]
        assert (read_rgb(folder / frame["file_path"]) == picture_of(view).rgb).all()
        raw = cv2.imread(str(folder / frame["depth_file_path"]), cv2.IMREAD_UNCHANGED)
        np.testing.assert_allclose(raw * content["depth_unit_scale_factor"], 0.5 * depth_map(view), atol=6e-4)
        world_from_camera = np.array(frame["transform_matrix"]) @ np.diag([1, -1, -1, 1])
        np.testing.assert_allclose(world_from_camera[:3, 3], 0.5 * view.centre, atol=1e-6)
        np.testing.assert_allclose(world_from_camera[:3, 2], view.cam_from_world[2, :3], atol=1e-6)
    assert [Path(f["file_path"]).name for f in content["frames"] if "mask_path" in f] == [views()[1].name]


def test_depth_maps_and_cameras(workspace: Workspace) -> None:
    summary = export.run(workspace, export.Options(what=("depth", "cameras"), units="metres"))
    folder = workspace.root / "export"
    assert [done.count for done in summary.exported] == [4, 4]
    for view in views():
        np.testing.assert_allclose(np.load(folder / "depth" / f"{view.stem}.npy"), 0.5 * depth_map(view), rtol=1e-5)
        with OpenEXR.File(str(folder / "depth" / f"{view.stem}.exr"), separate_channels=True) as file:
            (depth,) = file.channels().values()
            assert (depth.name, depth.pixels.dtype) == ("Z", np.float32)
            np.testing.assert_allclose(depth.pixels, 0.5 * depth_map(view), rtol=1e-5)
    content = json.loads((folder / "cameras.json").read_text(encoding="utf-8"))
    assert content["units"] == "metres"
    by_name = {row["name"]: np.array(row["cam_from_world"]) for row in content["photos"]}
    view = views()[2]
    np.testing.assert_allclose(by_name[view.name][:3, 3], 0.5 * view.cam_from_world[:3, 3], atol=1e-9)


def test_depth_that_does_not_fit_16_bits_is_refused(workspace: Workspace) -> None:
    write_json(workspace.scale, {"metres_per_unit": 40.0})
    with pytest.raises(DepthrfError, match=r"16-bit depth maps end at 65\.535.*--units scene"):
        export.run(workspace, export.Options(what=("depth",), units="metres"))


def test_a_mesh_needs_a_field(workspace: Workspace) -> None:
    with pytest.raises(UsageError, match="depthrf train"):
        export.run(workspace, export.Options(what=("mesh",)))
