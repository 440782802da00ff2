"""What is given -> views: the only place that recognises formats."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from interleave import BadSample, list_frames

from ..scene_paths import inside, read_object
from ..view import View
from .colmap import model_of, read_colmap
from .meshes import MESHES, render_views
from .nerf import read_nerf, transforms_of
from .nuscenes import read_record
from .scannet import is_scannet, read_scannet


def open_scene(data: Any, drawn: int = 10) -> list[View]:
    """The views of a scene in their order, their pictures unopened.

    data: a ScanNet-style folder, a folder with a COLMAP model or a ``transforms.json`` (or one of these themselves), a
    nuScenes record (as a file or a mapping with ``path``), a mesh or a point cloud, a folder or a list of pictures, or
    a list of View. Only pictures have no cameras. drawn: views of a mesh. Raises BadSample, and InputError where an
    extra is not installed.
    """
    if isinstance(data, Mapping) and set(data) != {"path"}:
        return _record(data, Path(data.get("path", ".")))
    if isinstance(data, Mapping):
        return open_scene(data["path"], drawn)
    if isinstance(data, (str, Path)):
        path = Path(data)
        if not path.exists():
            raise BadSample("missing file", f"{path} does not exist")
        return _folder(path) if path.is_dir() else _file(path, drawn)
    if isinstance(data, Sequence) and data and all(isinstance(item, View) for item in data):
        return list(data)
    return _plain(data)


def _folder(folder: Path) -> list[View]:
    if is_scannet(folder):
        return read_scannet(folder)
    if transforms := transforms_of(folder):
        return read_nerf(transforms)
    if model := model_of(folder):
        return read_colmap(model)
    if any(folder.glob("v1.0-*/sample_data.json")):
        raise BadSample("no sample", f"{folder} is a nuScenes release; name a moment by {{path: ..., sample: token}}")
    return _plain(folder)


def _file(path: Path, drawn: int) -> list[View]:
    if path.suffix.lower() in MESHES:
        return render_views(path, drawn)
    if path.suffix != ".json":
        raise BadSample("unknown scene", f"{path} is no scene that is known: no folder, .json or {', '.join(MESHES)}")
    described = read_object(path)
    if "frames" in described:
        return read_nerf(path)
    return _record(described, inside(path.parent, described.get("path", ".")))


def _record(record: Mapping[str, Any], folder: Path) -> list[View]:
    if record.keys() & {"cameras", "sample"}:
        return read_record(record, folder)
    keys = ", ".join(sorted(map(str, record))) or "nothing in it"
    raise BadSample("unknown scene", f"a scene with {keys} is not known; it needs frames, cameras or sample")


def _plain(data: Any) -> list[View]:
    pictures = list_frames(data)
    return [View(p, name=p.stem if isinstance(p, Path) else str(i)) for i, p in enumerate(pictures)]
