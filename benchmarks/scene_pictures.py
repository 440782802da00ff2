"""The pictures of docs/scene3d.md, drawn from synthetic scenes. Writes them into docs/images.

python benchmarks/scene_pictures.py
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np
from interleave_plugins.scenes.patch_rays import back_project
from interleave_plugins.scenes.readers.open_scene import open_scene
from interleave_plugins.scenes.synthetic.render import ANGLE, SyntheticScene, Thing, draw, look_at, make_scene
from interleave_plugins.scenes.synthetic.write import cameras_of
from interleave_plugins.scenes.view import Camera, Matrix, View
from interleave_plugins.scenes.view_selection import Selection, select
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle
from PIL import Image

FOLDER = Path(__file__).parents[1] / "docs" / "images"
CELL = 0.1
"""Metres: the surface is counted in cubes of this side."""
SELECTIONS: tuple[Selection, ...] = ("uniform", "farthest", "coverage")


def save(figure: Figure, name: str) -> None:
    """Write the figure, and say how large the file is."""
    path = FOLDER / name
    figure.savefig(path, dpi=100, bbox_inches="tight")
    plt.close(figure)
    Image.open(path).convert("RGB").save(path, optimize=True)  # without transparency it is smaller
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


def draw_truth(scene: SyntheticScene) -> None:
    """Colour, depth and point map of every second view, below each other."""
    figure, axes = plt.subplots(3, 4, figsize=(10, 5.9))
    low, high = np.array([-2.5, -2.5, 0]), np.array([2.5, 2.5, 1.25])  # metres that are drawn as black and as white
    for column, (view, camera) in enumerate(list(zip(scene.views, cameras_of(scene), strict=True))[::2]):
        depth = np.asarray(view.depth)
        points = back_project(depth, camera)  # (H, W, 3)
        colours = (np.clip(points, low, high) - low) / (high - low)
        colours[depth == 0] = 1
        axes[0, column].imshow(view.picture)
        axes[1, column].imshow(np.where(depth > 0, depth, np.nan), cmap="viridis", vmin=2, vmax=8)
        axes[2, column].imshow(colours)
    for row, name in zip(axes, ("colour", "depth", "point map"), strict=True):
        row[0].set_ylabel(name)
        for axis in row:
            axis.set(xticks=[], yticks=[])
    figure.tight_layout()
    save(figure, "scene3d_truth.png")


def walk(things: Sequence[Thing], floor: float) -> list[View]:
    """Forty views from the door, then twenty-four on a way around the room. floor: half its side in metres."""
    rng = np.random.default_rng(0)
    lens = make_scene(0).views[0].camera
    assert lens is not None
    door = [np.array([-3.6, -2.8, 1.5]) + rng.normal(0, 0.08, 3) for _ in range(40)]
    angles = np.linspace(3.9, 3.9 + 1.7 * np.pi, 24)
    around = [np.array([3.5 * np.cos(angle), 3.2 * np.sin(angle), 1.5]) for angle in angles]
    positions = [*door, *around]
    targets = [np.array([*rng.normal(0, 0.5, 2), 0.4]) for _ in positions]
    views = []
    for number, (position, target) in enumerate(zip(positions, targets, strict=True)):
        camera = Camera(look_at(position, target), lens.intrinsics, lens.width, lens.height)
        seen, _ = draw(things, camera, floor)
        views.append(View(seen.picture, camera, seen.depth, f"{number:02d}"))
    return views


def surface(views: Sequence[View]) -> int:
    """How many cubes of the surface at least one of the views shows."""
    points = []
    for view in views:
        if view.camera:
            depth = np.asarray(view.depth)
            points.append(back_project(depth, view.camera)[depth > 0])  # (n, 3)
    return len(np.unique(np.floor(np.concatenate(points) / CELL), axis=0))


def draw_selection(scene: SyntheticScene, count: int = 5) -> None:
    """The cameras of a walk from above, and which of them each way to choose takes."""
    views = walk(scene.things, scene.floor)
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.9))
    for axis, by in zip(axes, SELECTIONS, strict=True):
        chosen = select(views, count, by)
        share = surface([views[i] for i in chosen]) / surface(views)
        print(f"view_selection={by}: {chosen}, {share:.0%} of the surface")
        draw_room(axis, scene)
        for number, view in enumerate(views):
            if view.camera:
                draw_camera(axis, view.camera, number in chosen)
        axis.set_title(f"view_selection={by}: {share:.0%} of the surface", fontsize=10)
    figure.tight_layout()
    save(figure, "scene3d_selection.png")


def draw_room(axis: Axes, scene: SyntheticScene) -> None:
    """The floor and the boxes on it, from above."""
    axis.add_patch(Rectangle((-scene.floor, -scene.floor), 2 * scene.floor, 2 * scene.floor, fc="0.92", ec="0.8"))
    for thing in scene.things:
        axis.add_patch(Rectangle(thing.low[:2], *thing.size[:2], fc=np.array(thing.colour) / 255, ec="none"))
    axis.set(xlim=(-4.6, 4.6), ylim=(-4, 4), aspect="equal", xticks=[], yticks=[])


def draw_camera(axis: Axes, camera: Camera, chosen: bool) -> None:
    """The camera and its field of view, from above."""
    ahead = camera.direction[:2] / np.linalg.norm(camera.direction[:2])
    side = np.array([-ahead[1], ahead[0]]) * np.tan(ANGLE / 2)  # from the middle of the picture to its edge
    reach = 1.5 if chosen else 0.35  # metres
    corners: list[Matrix] = [camera.centre[:2] + reach * (ahead + turn * side) for turn in (-1, 1)]
    colour = "tab:red" if chosen else "0.55"
    axis.add_patch(Polygon([camera.centre[:2], *corners], fc=colour, ec=colour, alpha=0.25 if chosen else 0.5))
    axis.plot(*camera.centre[:2], "o", ms=6 if chosen else 2, color=colour, zorder=3 + chosen)


def draw_mesh(scene: SyntheticScene) -> None:
    """The same boxes as a mesh, seen from the ring that a mesh is given."""
    import trimesh

    boxes = []
    for thing in scene.things:
        box = trimesh.creation.box(bounds=[thing.low, thing.high])
        box.visual.vertex_colors = [*thing.colour, 255]
        boxes.append(box)
    floor = trimesh.creation.box(bounds=[[-scene.floor, -scene.floor, -0.05], [scene.floor, scene.floor, 0]])
    floor.visual.vertex_colors = [165, 165, 165, 255]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "room.ply")
        trimesh.util.concatenate([floor, *boxes]).export(path)
        views = open_scene(path, 5)
    figure, axes = plt.subplots(1, 5, figsize=(10, 2.2))
    for axis, view in zip(axes, views, strict=True):
        axis.imshow(view.picture)
        axis.set(xticks=[], yticks=[])
    figure.tight_layout()
    save(figure, "scene3d_mesh.png")


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    scene = make_scene(0, size=(192, 144))
    draw_truth(scene)
    draw_selection(make_scene(0))
    draw_mesh(scene)


if __name__ == "__main__":
    main()
