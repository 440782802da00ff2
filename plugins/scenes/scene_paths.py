"""Files that scene descriptions name, and their JSON. The only place that decides whether a name stays in the scene."""

import json
import os
from pathlib import Path
from typing import Any

from interleave import BadSample


def inside(folder: Path, name: Any) -> Path:
    """A path below ``folder``, by its letters: links are followed. Raises BadSample."""
    relative = Path(os.path.normpath(str(name)))
    if relative.is_absolute() or relative.parts[:1] == ("..",):
        raise BadSample("path outside scene", f"{name} leads out of the scene folder {folder}")
    return folder / relative


def read_object(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object. Raises BadSample."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadSample("missing file", f"{path} does not exist") from None
    except (OSError, ValueError) as error:
        raise BadSample("broken scene", f"{path} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise BadSample("broken scene", f"{path} holds a {type(value).__name__}; a scene is an object")
    return value
