"""Synthetic scenes as files, in every format with cameras that can be read: what tests and first attempts need."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

from ..cameras import shifted
from ..readers.nerf import FLIP
from ..readers.nuscenes import CAMERAS
from ..view import Camera, Matrix
from .render import SyntheticScene


def write_scannet(scene: SyntheticScene, folder: Path, released: bool = False, suffix: str = ".jpg") -> Path:
    """A scene folder as ScanNet's exporter writes it, or as ``scannet_frames_25k`` is released. Returns it.

    suffix: of pictures; ``.png`` loses nothing.
    """
    names = [f"{i * 100:06d}" if released else str(i) for i in range(len(scene.views))]
    apart = "intrinsics_{}.txt" if released else "intrinsic/intrinsic_{}.txt"
    for sub in ("color", "depth", "pose", *(("label", "instance") if released else ("intrinsic",))):
        (folder / sub).mkdir(parents=True)
    for name, view, camera in zip(names, scene.views, cameras(scene), strict=True):
        Image.fromarray(view.picture).save(folder / "color" / f"{name}{suffix}", quality=95)
        _write_depth(view.depth, folder / "depth" / f"{name}.png")
        np.savetxt(folder / "pose" / f"{name}.txt", camera.pose, "%.9f")
    square = np.eye(4)
    square[:3, :3] = shifted(cameras(scene)[0].intrinsics, -0.5)
    for of in ("color", "depth"):
        np.savetxt(folder / apart.format(of), square, "%.9f")
    return folder


def write_nerf(scene: SyntheticScene, folder: Path) -> Path:
    """A folder with ``transforms.json`` as Nerfstudio has it. Returns that file."""
    frames = []
    for name, view, camera in zip(_pictures(scene, folder), scene.views, cameras(scene), strict=True):
        depth = f"depth/{Path(name).stem}.png"
        (folder / "depth").mkdir(exist_ok=True)
        _write_depth(view.depth, folder / depth)
        pose = (camera.pose @ FLIP).tolist()
        frames.append({"file_path": name, "transform_matrix": pose, "depth_file_path": depth})
    one = cameras(scene)[0]
    (fl_x, _, cx), (_, fl_y, cy), _ = one.intrinsics.tolist()
    lens = {"camera_model": "OPENCV", "fl_x": fl_x, "fl_y": fl_y, "cx": cx, "cy": cy, "w": one.width, "h": one.height}
    path = folder / "transforms.json"
    path.write_text(json.dumps({**lens, "frames": frames}, indent=1))
    return path


def write_colmap(scene: SyntheticScene, folder: Path) -> Path:
    """``images`` and the text model ``sparse/0``, without points. Returns the folder."""
    model = folder / "sparse" / "0"
    model.mkdir(parents=True)
    lenses, images = [], []
    for number, (name, camera) in enumerate(zip(_pictures(scene, folder), cameras(scene), strict=True), 1):
        (fl_x, _, cx), (_, fl_y, cy), _ = camera.intrinsics.tolist()
        lenses.append(f"{number} PINHOLE {camera.width} {camera.height} {fl_x!r} {fl_y!r} {cx!r} {cy!r}\n")
        to_camera = np.linalg.inv(camera.pose).astype(np.float64)
        place = " ".join(repr(float(n)) for n in (*_quaternion(to_camera), *to_camera[:3, 3]))
        images.append(f"{number} {place} {number} {Path(name).name}\n\n")
    (model / "cameras.txt").write_text("".join(lenses))
    (model / "images.txt").write_text("".join(images))
    (model / "points3D.txt").write_text("")
    return folder


def write_nuscenes(scene: SyntheticScene, folder: Path, token: str = "moment") -> Mapping[str, Any]:
    """The tables and pictures of one moment of at most six cameras. Returns the record that names it."""
    tables: dict[str, list[dict[str, Any]]] = {name: [] for name in ("sample_data", "calibrated_sensor", "sensor")}
    car = np.eye(4)
    car[:3, :3], car[:3, 3] = Rotation.from_euler("z", 0.7).as_matrix(), (100, 200, 0.5)
    for channel, name, camera in zip(CAMERAS, _pictures(scene, folder), cameras(scene), strict=False):
        sensor = {"token": f"sensor of {channel}", **_place(np.linalg.inv(car) @ camera.pose)}
        lens = shifted(camera.intrinsics, -0.5).tolist()
        tables["sensor"].append({"token": channel, "channel": channel, "modality": "camera"})
        tables["calibrated_sensor"].append({**sensor, "sensor_token": channel, "camera_intrinsic": lens})
        row = {"sample_token": token, "calibrated_sensor_token": sensor["token"], "ego_pose_token": "car"}
        size = {"width": camera.width, "height": camera.height}
        tables["sample_data"].append({"token": channel, **row, "is_key_frame": True, "filename": name, **size})
        sweep = {**row, "is_key_frame": False, "filename": "sweeps/none.jpg", **size}
        tables["sample_data"].append({"token": f"{channel} later", **sweep})
    tables["ego_pose"] = [{"token": "car", **_place(car)}]
    (folder / "v1.0-mini").mkdir()
    for name, rows in tables.items():
        (folder / "v1.0-mini" / f"{name}.json").write_text(json.dumps(rows))
    return {"path": str(folder), "sample": token}


def cameras(scene: SyntheticScene) -> list[Camera]:
    """Of the views, every one of which has one."""
    return [view.camera for view in scene.views if view.camera]


def _pictures(scene: SyntheticScene, folder: Path) -> list[str]:
    (folder / "images").mkdir(parents=True)
    names = [f"images/{view.name}.png" for view in scene.views]
    for name, view in zip(names, scene.views, strict=True):
        Image.fromarray(view.picture).save(folder / name)
    return names


def _write_depth(depth: Matrix, path: Path) -> None:
    Image.fromarray((depth * 1000).round().astype(np.uint16)).save(path)


def _place(pose: Matrix) -> dict[str, list[float]]:
    return {"translation": pose[:3, 3].tolist(), "rotation": _quaternion(pose)}


def _quaternion(pose: Matrix) -> list[float]:
    """Its real part first."""
    *others, real = Rotation.from_matrix(pose[:3, :3]).as_quat().tolist()
    return [real, *others]
