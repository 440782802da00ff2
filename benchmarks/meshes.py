"""How long it takes to draw ten views of 384 pixels of a large mesh and of a large cloud of points.

python benchmarks/meshes.py
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import trimesh
from interleave_plugins.scenes.readers.meshes import render_views
from PIL import Image

VIEWS, SIDE = 10, 384


def textured_floor(rows: int, columns: int) -> trimesh.Trimesh:
    """A bumpy floor of rows x columns vertices with a picture on it; each cell between them is two triangles."""
    x, z = np.meshgrid(np.linspace(0, 1, columns), np.linspace(0, 1, rows))
    corner = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()  # of each cell
    first = np.stack([corner, corner + 1, corner + columns], 1)
    second = np.stack([corner + 1, corner + columns + 1, corner + columns], 1)
    height = 0.1 * np.sin(9 * x) * np.cos(7 * z)
    vertices = np.stack([x, height, z], -1).reshape(-1, 3)
    mesh = trimesh.Trimesh(vertices, np.concatenate([first, second]), process=False)
    picture = np.random.default_rng(0).integers(0, 255, (1024, 1024, 3), dtype=np.uint8)
    material = trimesh.visual.material.PBRMaterial(baseColorTexture=Image.fromarray(picture))
    mesh.visual = trimesh.visual.TextureVisuals(np.stack([x, z], -1).reshape(-1, 2), material=material)
    return mesh


def coloured_ball() -> trimesh.Trimesh:
    """A ball whose vertices have colours."""
    ball = trimesh.creation.uv_sphere(count=[160, 160])
    ball.visual.vertex_colors = ((ball.vertices + 1) / 2 * 255).astype(np.uint8)
    return ball


def main() -> None:
    points = np.random.default_rng(0).normal(size=(1_000_000, 3))
    shapes = {
        "mesh, colours of vertices (.ply)": ("a.ply", coloured_ball()),
        "mesh, texture of 1024 x 1024 (.glb)": ("b.glb", textured_floor(226, 226)),
        "cloud of points (.ply)": ("c.ply", trimesh.PointCloud(points)),
    }
    print("| shape | faces or points | seconds | of CPU time |\n|---|--:|--:|--:|")
    for name, (file, shape) in shapes.items():
        with tempfile.TemporaryDirectory() as folder:
            shape.export(Path(folder, file))
            started, worked = time.perf_counter(), time.process_time()
            render_views(Path(folder, file), VIEWS, SIDE)
            seconds, processor = time.perf_counter() - started, time.process_time() - worked
            size = len(getattr(shape, "faces", shape.vertices))
            print(f"| {name} | {size:,} | {seconds:.1f} | {processor:.1f} |", flush=True)


if __name__ == "__main__":
    main()
