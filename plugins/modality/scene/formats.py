"""What is given -> views: the only place that recognises formats."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from interleave import BadSample, list_frames

from .colmap import model_of, read_colmap
from .nerf import read_nerf, transforms_of
from .nuscenes import read_record
from .paths import inside, read_object
from .scannet import is_scannet, read_scannet
from .view import View


def open_scene(data: Any) -> list[View]:
    """The views of a scene in their order, their pictures unopened.

    data: a ScanNet-style folder, a folder with a COLMAP model or a ``transforms.json`` (or one of these themselves), a
    nuScenes record (as a file or a mapping with ``path``), a folder or a list of pictures, or a list of View. Only
    pictures have no cameras. Raises BadSample.
    """
    if isinstance(data, Mapping):
        return _record(data, Path(data.get("path", ".")))
    if isinstance(data, (str, Path)):
        path = Path(data)
        if not path.exists():
            raise BadSample("missing file", f"{path} does not exist")
        return _folder(path) if path.is_dir() else _file(path)
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


def _file(path: Path) -> list[View]:
    if path.suffix != ".json":
        raise BadSample("unknown scene", f"{path} is no scene that is known: neither a folder nor a .json file")
    described = read_object(path)
    if "frames" in described:
        return read_nerf(path)
    return _record(described, inside(path.parent, described.get("path", ".")))


def _record(record: Mapping[str, Any], folder: Path) -> list[View]:
    if record.keys() & {"cameras", "sample"}:
        return read_record(record, folder)
    if set(record) == {"path"}:
        return open_scene(folder)
    keys = ", ".join(sorted(map(str, record))) or "nothing in it"
    raise BadSample("unknown scene", f"a scene with {keys} is not known; it needs frames, cameras or sample")


def _plain(data: Any) -> list[View]:
    pictures = list_frames(data)
    return [View(p, name=p.stem if isinstance(p, Path) else str(i)) for i, p in enumerate(pictures)]
