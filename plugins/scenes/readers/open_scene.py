"""From whatever names a scene to its views: the only place that recognises formats."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from interleave import BadSample, list_frames

from ..scene_paths import JsonObject, inside, read_object
from ..view import View
from .colmap import find_model, read_colmap
from .meshes import MESHES, render_views
from .nerf import find_transforms, read_nerf
from .nuscenes import read_record
from .scannet import is_scannet, read_scannet


def open_scene(data: object, drawn: int = 10) -> list[View]:
    """The views of a scene in the order of the data, their pictures unopened.

    data: one of
        - a ScanNet-style folder, a folder with a COLMAP model or a ``transforms.json``, or one of these two themselves,
        - a nuScenes record, as a mapping or as a ``.json`` file,
        - a mesh or a point cloud (``.ply``, ``.glb``, ``.obj``),
        - a folder or a list of pictures, whose views have no cameras,
        - a list of View,
        - ``{"path": ...}`` with any of the files and folders above.
    drawn: how many views are drawn of a mesh or a point cloud.

    Raises BadSample for a scene that cannot be used, InputError where an extra is not installed.
    """
    if isinstance(data, Mapping) and set(data) != {"path"}:
        return _open_record(data, Path(data.get("path", ".")))
    if isinstance(data, Mapping):
        return open_scene(data["path"], drawn)
    if isinstance(data, (str, Path)):
        path = Path(data)
        if not path.exists():
            raise BadSample("missing file", f"{path} does not exist")
        return _open_folder(path) if path.is_dir() else _open_file(path, drawn)
    if isinstance(data, Sequence) and data and all(isinstance(item, View) for item in data):
        return list(data)
    return _open_pictures(data)


def _open_folder(folder: Path) -> list[View]:
    if is_scannet(folder):
        return read_scannet(folder)
    transforms = find_transforms(folder)
    if transforms:
        return read_nerf(transforms)
    model = find_model(folder)
    if model:
        return read_colmap(model)
    if any(folder.glob("v1.0-*/sample_data.json")):
        raise BadSample("no sample", f"{folder} is a nuScenes release; name a moment by {{path: ..., sample: token}}")
    return _open_pictures(folder)


def _open_file(path: Path, drawn: int) -> list[View]:
    if path.suffix.lower() in MESHES:
        return render_views(path, drawn)
    if path.suffix != ".json":
        raise BadSample("unknown scene", f"{path} is no scene that is known: no folder, .json or {', '.join(MESHES)}")
    description = read_object(path)
    if "frames" in description:
        return read_nerf(path)
    return _open_record(description, inside(path.parent, description.get("path", ".")))


def _open_record(record: JsonObject, folder: Path) -> list[View]:
    if record.keys() & {"cameras", "sample"}:
        return read_record(record, folder)
    keys = ", ".join(sorted(map(str, record))) or "nothing in it"
    raise BadSample("unknown scene", f"a scene with {keys} is not known; it needs frames, cameras or sample")


def _open_pictures(data: object) -> list[View]:
    """Views without cameras, named after their files or, where these are no files, by their number."""
    views = []
    for number, picture in enumerate(list_frames(data)):
        name = picture.stem if isinstance(picture, Path) else str(number)
        views.append(View(picture, name=name))
    return views
