"""nuScenes: the cameras of one moment, from the tables of a release or from a record of them. No devkit is needed."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
from scipy.spatial.transform import Rotation

from interleave import BadSample, Records

from ..cameras import as_matrix, make_camera, size_of
from ..scene_paths import inside
from ..view import Matrix, View

CAMERAS = ("CAM_FRONT", "CAM_FRONT_RIGHT", "CAM_BACK_RIGHT", "CAM_BACK", "CAM_BACK_LEFT", "CAM_FRONT_LEFT")
"""Clockwise, seen from above."""
TABLES = ("sample_data", "calibrated_sensor", "sensor", "ego_pose")


def read_record(record: Mapping[str, Any], folder: Path) -> list[View]:
    """A record with ``cameras``, from name to what the tables say of each, or with ``sample``, the token of a moment.

    Of a camera: ``filename`` below ``folder``; ``calibrated_sensor`` with ``translation``, ``rotation`` (a quaternion,
    its real part first) and ``camera_intrinsic``; ``ego_pose`` with ``translation`` and ``rotation``, without which the
    world is the car; perhaps ``width`` and ``height``. With ``sample``, ``folder`` holds the release, and ``version``
    names its folder of tables where there are several. Views go clockwise from the front. Raises BadSample.
    """
    cameras = record.get("cameras")
    if cameras is None:
        cameras = dict(_of_sample(_tables(folder, record.get("version")), str(record["sample"])))
    if not isinstance(cameras, Mapping) or not cameras:
        raise BadSample("no cameras", f"a nuScenes record of {folder} has no cameras")
    order = [name for name in CAMERAS if name in cameras] + [name for name in cameras if name not in CAMERAS]
    return [_view(folder, name, cameras[name]) for name in order]


def _view(folder: Path, name: str, camera: Mapping[str, Any]) -> View:
    try:
        picture, sensor = inside(folder, camera["filename"]), camera["calibrated_sensor"]
        intrinsics, car = sensor["camera_intrinsic"], camera.get("ego_pose")
        pose = _rigid(sensor, f"{name}'s calibrated_sensor")
    except (KeyError, TypeError, AttributeError) as error:
        raise BadSample("broken record", f"{name} lacks {error} of a nuScenes camera") from None
    if car is not None:
        pose = _rigid(car, f"{name}'s ego_pose") @ pose
    lens, size = as_matrix(intrinsics, 3, 3, f"camera_intrinsic of {name}"), size_of(picture)
    if "width" in camera and "height" in camera:
        width, height = as_matrix([[camera["width"], camera["height"]]], 1, 2, f"the size of {name}")[0]
        size = int(width), int(height)
    made = make_camera(pose, lens, size, name, from_centre=True)
    return View(picture, made, None, name)


def _rigid(place: Mapping[str, Any], name: str) -> Matrix:
    """(4, 4) of a translation and a quaternion whose real part is first."""
    real, *others = as_matrix([place["rotation"]], 1, 4, f"rotation of {name}")[0]
    if not 0.9 < np.linalg.norm([real, *others]) < 1.1:
        raise BadSample("singular rotation", f"{name} has the quaternion {place['rotation']}; its length must be 1")
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_quat([*others, real]).as_matrix()
    pose[:3, 3] = as_matrix([place["translation"]], 1, 3, f"translation of {name}")[0]
    return pose


def _of_sample(tables: Mapping[str, Records], token: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The key frames of a moment by the names of their cameras."""
    data = tables["sample_data"]
    rows = pc.indices_nonzero(pc.equal(data.table.column("sample"), token)).to_pylist() if len(data) else []
    found = [data[row] for row in rows]
    for row in found:
        sensor = _row(tables, "calibrated_sensor", row["calibrated_sensor_token"])
        channel = _row(tables, "sensor", sensor["sensor_token"])
        if channel["modality"] == "camera":
            yield str(channel["channel"]), {
                **row, "calibrated_sensor": sensor, "ego_pose": _row(tables, "ego_pose", row["ego_pose_token"])
            }  # fmt: skip
    if not found:
        raise BadSample("unknown sample", f"none of {len(data)} rows of sample_data.json is a key frame of {token!r}")


def _row(tables: Mapping[str, Records], table: str, token: str) -> Mapping[str, Any]:
    rows = tables[table]
    at = pc.index(rows.table.column("token"), token).as_py() if len(rows) else -1
    if at < 0:
        raise BadSample("broken record", f"{table}.json has no row {token!r}")
    found: Mapping[str, Any] = rows[at]
    return found


def _tables(root: Path, version: Any) -> Mapping[str, Records]:
    folders = sorted(p.name for p in root.glob("v1.0-*") if p.is_dir()) if version is None else [str(version)]
    if len(folders) != 1:
        found = f"{len(folders)} folders of nuScenes tables: {', '.join(folders) or 'none'}"
        raise BadSample("missing file", f"{root} has {found}; name one by version")
    missing = [name for name in TABLES if not (root / folders[0] / f"{name}.json").is_file()]
    if missing:
        raise BadSample("missing file", f"{root / folders[0]} has no {missing[0]}.json")
    return _opened(root / folders[0])


@lru_cache(maxsize=4)
def _opened(folder: Path) -> Mapping[str, Records]:
    """The tables, indexed once: those of the whole release are larger than memory should hold in every worker."""
    return {name: Records([folder / f"{name}.json"], _label, "nuscenes-1") for name in TABLES}


def _label(record: dict[str, Any], file: str) -> dict[str, str]:
    return {
        "token": str(record.get("token")),
        "sample": str(record["sample_token"]) if record.get("is_key_frame") else "",
    }
