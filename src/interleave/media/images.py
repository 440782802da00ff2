"""Files to pictures: the only place where images are opened and resized."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from ..core.errors import BadSample

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"})


def load_image(data: Any) -> Image.Image:
    """A path, a file's bytes, a PIL image or an array (H, W, 3) uint8 -> an RGB picture, decoded whole.

    Raises BadSample.
    """
    if isinstance(data, Image.Image):
        return data.convert("RGB")
    if isinstance(data, np.ndarray):
        return Image.fromarray(data).convert("RGB")
    name = f"an image of {len(data)} bytes" if isinstance(data, bytes) else str(existing(data))
    try:
        with Image.open(io.BytesIO(data) if isinstance(data, bytes) else name) as image:
            return image.convert("RGB")
    except UnidentifiedImageError:
        raise BadSample("not an image", f"{name} is not an image that Pillow can read") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadSample("broken image", f"{name} cannot be decoded: {error}") from None


def list_frames(data: Any) -> list[Any]:
    """A folder or a sequence -> its pictures in order, unopened."""
    if isinstance(data, (str, Path)):
        folder = existing(data)
        try:
            paths: list[Any] = sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
        except OSError as error:
            raise BadSample("unreadable file", f"{folder} cannot be listed as frames: {error.strerror}") from None
        if not paths:
            raise BadSample("empty folder", f"{folder} holds no pictures")
        return paths
    if isinstance(data, (Sequence, np.ndarray)) and not isinstance(data, bytes):
        if len(data) == 0:
            raise BadSample("no pictures", "a list of pictures is empty; it needs at least one")
        return list(data)
    raise BadSample("unknown media", f"a {type(data).__name__} is neither a file, a folder nor a list of pictures")


def uniform(total: int, count: int) -> list[int]:
    """Indices of ``count`` uniform frames out of ``total``, each at most once."""
    return [int(i) for i in np.linspace(0, total - 1, min(count, total))]


def existing(data: Any) -> Path:
    if not isinstance(data, (str, Path)):
        raise BadSample("unknown media", f"a {type(data).__name__} is neither a path nor a picture")
    path = Path(data)
    try:
        if not path.exists():
            raise BadSample("missing file", f"{path} does not exist")
    except OSError as error:  # no permission, or a name that no disk takes
        raise BadSample("unreadable file", f"{str(path)[:200]} cannot be looked at: {error.strerror}") from None
    return path
