"""nuScenes: the cameras of one moment, from the tables of a release or from a record of them. No devkit is needed.

nuScenes has OpenCV's camera axes, pixels measured from the centre of the first one, and two poses for each picture:
camera to car (``calibrated_sensor``) and car to world (``ego_pose``), in metres.
"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
from scipy.spatial.transform import Rotation

from interleave import BadSample, Records, image_size

from ..cameras import as_matrix, make_camera
from ..scene_paths import JsonObject, inside
from ..view import Matrix, View

CAMERAS = ("CAM_FRONT", "CAM_FRONT_RIGHT", "CAM_BACK_RIGHT", "CAM_BACK", "CAM_BACK_LEFT", "CAM_FRONT_LEFT")
"""Clockwise, seen from above."""
TABLES = ("sample_data", "calibrated_sensor", "sensor", "ego_pose")
"""The tables of a release that are read. A row of ``sample_data`` is a picture; it names rows of the others."""


def read_record(record: JsonObject, folder: Path) -> list[View]:
    """The views of one moment, clockwise from the front, without depth. Raises BadSample.

    record: either ``cameras``, a mapping from the name of each camera to what the tables say of it:
        filename: of the picture, below ``folder``.
        calibrated_sensor: ``translation``, ``rotation`` (a quaternion, its real part first), ``camera_intrinsic``.
        ego_pose: ``translation`` and ``rotation``; without it the world is the car's.
        width, height: of the picture that the intrinsics are for; without them those of the file.
      or ``sample``, the token of the moment, and where the release has several folders of tables ``version``, the name
      of one of them.
    folder: of the pictures; with ``sample``, of the release.
    """
    cameras = record.get("cameras")
    if cameras is None:
        cameras = _cameras_of_sample(_find_tables(folder, record.get("version")), str(record["sample"]))
    if not isinstance(cameras, Mapping) or not cameras:
        raise BadSample("no cameras", f"a nuScenes record of {folder} has no cameras")
    known = [name for name in CAMERAS if name in cameras]
    others = [name for name in cameras if name not in CAMERAS]
    return [_view(folder, name, cameras[name]) for name in [*known, *others]]


def _view(folder: Path, name: str, camera: JsonObject) -> View:
    try:
        picture, sensor = inside(folder, camera["filename"]), camera["calibrated_sensor"]
        intrinsics, car = sensor["camera_intrinsic"], camera.get("ego_pose")
        pose = _rigid_transform(sensor, f"{name}'s calibrated_sensor")  # camera to car
    except (KeyError, TypeError, AttributeError) as error:
        raise BadSample("broken record", f"{name} lacks {error} of a nuScenes camera") from None
    if car is not None:
        pose = _rigid_transform(car, f"{name}'s ego_pose") @ pose  # camera to car to world
    lens, size = as_matrix(intrinsics, 3, 3, f"camera_intrinsic of {name}"), image_size(picture)
    if "width" in camera and "height" in camera:
        width, height = as_matrix([[camera["width"], camera["height"]]], 1, 2, f"the size of {name}")[0]
        size = int(width), int(height)
    return View(picture, make_camera(pose, lens, size, name, from_centre=True), None, name)


def _rigid_transform(transform: JsonObject, name: str) -> Matrix:
    """(4, 4) matrix of a ``translation`` and of a ``rotation``, a quaternion whose real part is first.

    Raises BadSample, whose text begins with ``name``; KeyError where one of the two is missing.
    """
    real, *imaginary = as_matrix([transform["rotation"]], 1, 4, f"rotation of {name}")[0]
    if not 0.9 < np.linalg.norm([real, *imaginary]) < 1.1:
        raise BadSample("singular rotation", f"{name} has the quaternion {transform['rotation']}; its length must be 1")
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_quat([*imaginary, real]).as_matrix()  # SciPy has the real part last
    pose[:3, 3] = as_matrix([transform["translation"]], 1, 3, f"translation of {name}")[0]
    return pose


def _cameras_of_sample(tables: Mapping[str, Records], token: str) -> dict[str, JsonObject]:
    """The key frames of a moment by the names of their cameras, in the form of ``read_record``. Raises BadSample."""
    data = tables["sample_data"]
    rows = pc.indices_nonzero(pc.equal(data.table.column("sample"), token)).to_pylist() if len(data) else []
    if not rows:
        raise BadSample("unknown sample", f"none of {len(data)} rows of sample_data.json is a key frame of {token!r}")
    cameras: dict[str, JsonObject] = {}
    for number in rows:
        row = data[number]
        sensor = _row(tables, "calibrated_sensor", row["calibrated_sensor_token"])
        channel = _row(tables, "sensor", sensor["sensor_token"])
        if channel["modality"] == "camera":  # key frames of lidar and radar have the same sample
            car = _row(tables, "ego_pose", row["ego_pose_token"])
            cameras[str(channel["channel"])] = {**row, "calibrated_sensor": sensor, "ego_pose": car}
    return cameras


def _row(tables: Mapping[str, Records], table: str, token: str) -> JsonObject:
    """The row of a table that has this token. Raises BadSample where none has."""
    rows = tables[table]
    number = pc.index(rows.table.column("token"), token).as_py() if len(rows) else -1
    if number < 0:
        raise BadSample("broken record", f"{table}.json has no row {token!r}")
    found: JsonObject = rows[number]
    return found


def _find_tables(root: Path, version: object) -> Mapping[str, Records]:
    """The tables of a release. ``version``: the name of their folder; None takes the only one. Raises BadSample."""
    folders = sorted(p.name for p in root.glob("v1.0-*") if p.is_dir()) if version is None else [str(version)]
    if len(folders) != 1:
        found = f"{len(folders)} folders of nuScenes tables: {', '.join(folders) or 'none'}"
        raise BadSample("missing file", f"{root} has {found}; name one by version")
    missing = [name for name in TABLES if not (root / folders[0] / f"{name}.json").is_file()]
    if missing:
        raise BadSample("missing file", f"{root / folders[0]} has no {missing[0]}.json")
    return _open_tables(root / folders[0])


@lru_cache(maxsize=4)
def _open_tables(folder: Path) -> Mapping[str, Records]:
    """The tables, indexed once: those of the whole release are larger than memory should hold in every worker."""
    return {name: Records([folder / f"{name}.json"], _columns, "nuscenes-1") for name in TABLES}


def _columns(record: dict[str, object], file: str) -> dict[str, str]:
    """What the index of a table keeps beside each row: its token, and of key frames the token of their sample."""
    return {
        "token": str(record.get("token")),
        "sample": str(record["sample_token"]) if record.get("is_key_frame") else "",
    }
