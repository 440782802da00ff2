"""Synthetic scenes as files, in every format with cameras that can be read: what tests and first attempts need."""

import json
from pathlib import Path
from typing import TypedDict

import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

from ..cameras import shift_origin
from ..readers.nerf import OPENGL_TO_OPENCV
from ..readers.nuscenes import CAMERAS
from ..view import Camera, Matrix, View
from .render import SyntheticScene


class NuScenesRecord(TypedDict):
    """What names a moment of a nuScenes release: the release's folder, and the token of the sample."""

    path: str
    sample: str


class RigidTransform(TypedDict):
    """A pose as nuScenes writes it. translation: three metres. rotation: a quaternion, its real part first."""

    translation: list[float]
    rotation: list[float]


def write_scannet(scene: SyntheticScene, folder: Path, released: bool = False, suffix: str = ".jpg") -> Path:
    """Write a scene as ScanNet's exporter does. Returns the folder, which must not exist yet.

    released: the names and folders of ``scannet_frames_25k`` instead.
    suffix: of pictures; ``.png`` loses nothing.
    """
    intrinsics_name = "intrinsics_{}.txt" if released else "intrinsic/intrinsic_{}.txt"
    others = ("label", "instance") if released else ("intrinsic",)
    for name in ("color", "depth", "pose", *others):
        (folder / name).mkdir(parents=True)
    for i, (view, camera) in enumerate(zip(scene.views, cameras_of(scene), strict=True)):
        name = f"{i * 100:06d}" if released else str(i)
        Image.fromarray(np.asarray(view.picture)).save(folder / "color" / f"{name}{suffix}", quality=95)
        _write_depth(view, folder / "depth" / f"{name}.png")
        np.savetxt(folder / "pose" / f"{name}.txt", camera.pose, "%.9f")  # camera to world
    intrinsics = np.eye(4)
    # ScanNet measures pixels from the centre of the first one
    intrinsics[:3, :3] = shift_origin(cameras_of(scene)[0].intrinsics, -0.5)
    for sensor in ("color", "depth"):
        np.savetxt(folder / intrinsics_name.format(sensor), intrinsics, "%.9f")
    return folder


def write_nerf(scene: SyntheticScene, folder: Path) -> Path:
    """Write pictures, depth and ``transforms.json`` as Nerfstudio does. Returns the path of that file."""
    frames = []
    for name, view, camera in zip(_write_pictures(scene, folder), scene.views, cameras_of(scene), strict=True):
        depth = f"depth/{Path(name).stem}.png"
        (folder / "depth").mkdir(exist_ok=True)
        _write_depth(view, folder / depth)
        pose = (camera.pose @ OPENGL_TO_OPENCV).tolist()  # the flip of y and z is its own inverse
        frames.append({"file_path": name, "transform_matrix": pose, "depth_file_path": depth})
    camera = cameras_of(scene)[0]  # all have the same lens
    (fl_x, _, cx), (_, fl_y, cy), _ = camera.intrinsics.tolist()
    lens = {
        "camera_model": "OPENCV",
        "fl_x": fl_x,
        "fl_y": fl_y,
        "cx": cx,
        "cy": cy,
        "w": camera.width,
        "h": camera.height,
    }
    path = folder / "transforms.json"
    path.write_text(json.dumps({**lens, "frames": frames}, indent=1))
    return path


def write_colmap(scene: SyntheticScene, folder: Path) -> Path:
    """Write ``images`` and the text model ``sparse/0``, without points. Returns the folder."""
    model = folder / "sparse" / "0"
    model.mkdir(parents=True)
    lenses, images = [], []
    for number, (name, camera) in enumerate(zip(_write_pictures(scene, folder), cameras_of(scene), strict=True), 1):
        (fl_x, _, cx), (_, fl_y, cy), _ = camera.intrinsics.tolist()
        lenses.append(f"{number} PINHOLE {camera.width} {camera.height} {fl_x!r} {fl_y!r} {cx!r} {cy!r}\n")
        to_camera = np.linalg.inv(camera.pose).astype(np.float64)  # COLMAP has world to camera
        numbers = [*_quaternion(to_camera), *to_camera[:3, 3]]
        pose = " ".join(repr(float(n)) for n in numbers)
        images.append(f"{number} {pose} {number} {Path(name).name}\n\n")  # the empty line is that of its points
    (model / "cameras.txt").write_text("".join(lenses))
    (model / "images.txt").write_text("".join(images))
    (model / "points3D.txt").write_text("")
    return folder


def write_nuscenes(scene: SyntheticScene, folder: Path, token: str = "moment") -> NuScenesRecord:
    """Write the tables and pictures of one moment, of at most six cameras. Returns the record that names it.

    Each camera has a key frame and a later frame that is none. The car stands turned and away from the world's origin.
    """
    tables: dict[str, list[dict[str, object]]] = {"sample_data": [], "calibrated_sensor": [], "sensor": []}
    car = np.eye(4)  # car to world
    car[:3, :3] = Rotation.from_euler("z", 0.7).as_matrix()
    car[:3, 3] = (100, 200, 0.5)
    for channel, name, camera in zip(CAMERAS, _write_pictures(scene, folder), cameras_of(scene), strict=False):
        sensor_token = f"sensor of {channel}"
        sensor = {"token": sensor_token, **_rigid_transform(np.linalg.inv(car) @ camera.pose)}  # camera to car
        lens = shift_origin(camera.intrinsics, -0.5).tolist()  # nuScenes measures pixels from the first one's centre
        tables["sensor"].append({"token": channel, "channel": channel, "modality": "camera"})
        tables["calibrated_sensor"].append({**sensor, "sensor_token": channel, "camera_intrinsic": lens})
        row = {"sample_token": token, "calibrated_sensor_token": sensor_token, "ego_pose_token": "car"}
        size = {"width": camera.width, "height": camera.height}
        tables["sample_data"].append({"token": channel, **row, "is_key_frame": True, "filename": name, **size})
        later = {**row, "is_key_frame": False, "filename": "sweeps/none.jpg", **size}
        tables["sample_data"].append({"token": f"{channel} later", **later})
    tables["ego_pose"] = [{"token": "car", **_rigid_transform(car)}]
    (folder / "v1.0-mini").mkdir()
    for name, rows in tables.items():
        (folder / "v1.0-mini" / f"{name}.json").write_text(json.dumps(rows))
    return {"path": str(folder), "sample": token}


def cameras_of(scene: SyntheticScene) -> list[Camera]:
    """The cameras of the views; every view of a synthetic scene has one."""
    return [view.camera for view in scene.views if view.camera]


def _write_pictures(scene: SyntheticScene, folder: Path) -> list[str]:
    """Write ``images/*.png``. Returns their paths below the folder."""
    (folder / "images").mkdir(parents=True)
    names = [f"images/{view.name}.png" for view in scene.views]
    for name, view in zip(names, scene.views, strict=True):
        Image.fromarray(np.asarray(view.picture)).save(folder / name)
    return names


def _write_depth(view: View, path: Path) -> None:
    """Depth in metres as a 16-bit picture in millimetres."""
    Image.fromarray((np.asarray(view.depth) * 1000).round().astype(np.uint16)).save(path)


def _rigid_transform(pose: Matrix) -> RigidTransform:
    return {"translation": pose[:3, 3].tolist(), "rotation": _quaternion(pose)}


def _quaternion(pose: Matrix) -> list[float]:
    """The rotation of a (4, 4) pose as four numbers, the real part first; SciPy has it last."""
    *imaginary, real = Rotation.from_matrix(pose[:3, :3]).as_quat().tolist()
    return [real, *imaginary]
