"""Triangle meshes with vertex colours: PLY and OBJ by Open3D, and glTF binary (GLB)."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depthrf.errors import DepthrfError
from depthrf.storage import atomic_open, atomic_path

_FLOAT, _UINT = 5126, 5125  # glTF 2.0, accessor.componentType
_ARRAY, _INDICES = 34962, 34963  # bufferView.target


@dataclass(frozen=True)
class Mesh:
    """vertices (V, 3), triangles (T, 3) indices, counter-clockwise from outside, colors (V, 3) sRGB uint8."""

    vertices: NDArray[np.float64]
    triangles: NDArray[np.int64]
    colors: NDArray[np.uint8]


def write_mesh(path: Path, mesh: Mesh) -> None:
    """Writes a PLY or OBJ file with vertex colours and normals, atomically.

    Raises:
        DepthrfError: It cannot be written.
    """
    import open3d as o3d

    shape = o3d.geometry.TriangleMesh(
        o3d.utility.Vector3dVector(mesh.vertices), o3d.utility.Vector3iVector(mesh.triangles.astype(np.int32))
    )
    shape.vertex_colors = o3d.utility.Vector3dVector(mesh.colors / 255.0)
    shape.compute_vertex_normals()
    shape.triangle_normals = o3d.utility.Vector3dVector()  # OBJ has none, of which Open3D would warn
    with atomic_path(path) as temporary:
        if not o3d.io.write_triangle_mesh(temporary, shape):
            raise DepthrfError(f"Cannot write the mesh {path}. Check that the disk has room.")


def write_glb(path: Path, mesh: Mesh) -> None:
    """Writes glTF 2.0 binary; the mesh's axes should be glTF's (x right, y up, z towards the viewer).

    Vertex colours of glTF are linear, so they are stored as floats, and the material is unlit: the colours hold the
    light of the photos already (KHR_materials_unlit).
    """
    positions = mesh.vertices.astype("<f4")
    srgb = mesh.colors / 255.0
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4).astype("<f4")
    blocks = [positions.tobytes(), linear.tobytes(), mesh.triangles.astype("<u4").tobytes()]
    offsets = np.cumsum([0, *map(len, blocks)])
    views = [
        {"buffer": 0, "byteOffset": int(offset), "byteLength": len(block), "target": target}
        for offset, block, target in zip(offsets, blocks, (_ARRAY, _ARRAY, _INDICES), strict=False)
    ]
    document = {
        "asset": {"version": "2.0", "generator": "depthrf"},
        "extensionsUsed": ["KHR_materials_unlit"],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [
            {"primitives": [{"attributes": {"POSITION": 0, "COLOR_0": 1}, "indices": 2, "material": 0}]},
        ],
        "materials": [{"doubleSided": True, "extensions": {"KHR_materials_unlit": {}}}],
        "accessors": [
            {
                "bufferView": 0,
                "componentType": _FLOAT,
                "count": len(positions),
                "type": "VEC3",
                "min": positions.min(axis=0).tolist(),
                "max": positions.max(axis=0).tolist(),
            },
            {"bufferView": 1, "componentType": _FLOAT, "count": len(linear), "type": "VEC3"},
            {"bufferView": 2, "componentType": _UINT, "count": 3 * len(mesh.triangles), "type": "SCALAR"},
        ],
        "bufferViews": views,
        "buffers": [{"byteLength": int(offsets[-1])}],
    }
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    binary = b"".join(blocks)
    with atomic_open(path, "wb") as handle:
        handle.write(struct.pack("<4sII", b"glTF", 2, 12 + 8 + len(text) + 8 + len(binary)))
        handle.write(struct.pack("<I4s", len(text), b"JSON") + text)
        handle.write(struct.pack("<I4s", len(binary), b"BIN\0") + binary)
