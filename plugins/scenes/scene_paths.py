"""Files that scene descriptions name, and their JSON. The only place that decides whether a name stays in the scene."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from interleave import BadSample

JsonObject = Mapping[str, Any]
"""A JSON object of a scene file. Its values come from strangers: readers check each one before they use it."""


def inside(folder: Path, name: object) -> Path:
    """The path of the file that a scene description calls ``name``, which must lie below ``folder``.

    Only the letters of the name are checked: symbolic links inside of the folder may lead anywhere, because the owner
    of the disk made them. Raises BadSample for an absolute name and for one that climbs out with ``..``.
    """
    relative = Path(os.path.normpath(str(name)))
    if relative.is_absolute() or relative.parts[:1] == ("..",):
        raise BadSample("path outside scene", f"{name} leads out of the scene folder {folder}")
    return folder / relative


def read_object(path: Path) -> JsonObject:
    """The object that a JSON file holds. Raises BadSample where the file is missing, is no JSON or holds a list."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadSample("missing file", f"{path} does not exist") from None
    except (OSError, ValueError) as error:
        raise BadSample("broken scene", f"{path} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise BadSample("broken scene", f"{path} holds a {type(value).__name__}; a scene is an object")
    return value
