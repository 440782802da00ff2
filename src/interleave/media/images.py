"""Files to pictures: the only place where images are opened."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import overload

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from ..core.errors import BadSample

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
"""Which files of a folder are its pictures, in lower case."""


def load_image(data: object) -> Image.Image:
    """A path, a file's bytes, a PIL image or an array (H, W, 3) uint8 -> an RGB picture whose pixels are decoded.

    A PIL image that is RGB already comes back itself. Raises BadSample where it is none of these, or no picture.
    """
    if isinstance(data, Image.Image):
        return as_rgb(data)
    if isinstance(data, np.ndarray):  # (H, W, 3)
        return as_rgb(Image.fromarray(data))
    with opened_image(data) as image:
        return as_rgb(image)


def as_rgb(image: Image.Image) -> Image.Image:
    """The picture decoded, in red, green and blue: itself where it is so already, else a copy."""
    if image.mode != "RGB":
        return image.convert("RGB")
    image.load()  # decodes now, so that a broken file fails here
    return image


@contextmanager
def opened_image(data: object) -> Iterator[ImageFile.ImageFile]:
    """An image file, by its path or as bytes, of which only the header is read. Whatever Pillow raises inside for its
    content becomes BadSample."""
    name = f"an image of {len(data)} bytes" if isinstance(data, bytes) else str(existing_path(data))
    try:
        with Image.open(io.BytesIO(data) if isinstance(data, bytes) else name) as image:
            yield image
    except UnidentifiedImageError:
        raise BadSample("not an image", f"{name} is not an image that Pillow can read") from None
    # Pillow's readers raise SyntaxError and ValueError, too, for broken files
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadSample("broken image", f"{name} cannot be decoded: {error}") from None


@overload
def list_frames(data: str | Path) -> Sequence[Path]: ...


@overload
def list_frames(data: object) -> Sequence[object]: ...


def list_frames(data: object) -> Sequence[object]:
    """The pictures of a folder by name, or the elements of a sequence or array; none is opened.

    Raises BadSample where there is none, or ``data`` is neither.
    """
    if isinstance(data, (str, Path)):
        return _pictures_in(existing_path(data))
    if isinstance(data, (Sequence, np.ndarray)) and not isinstance(data, bytes):
        if len(data) == 0:
            raise BadSample("no pictures", "a list of pictures is empty; it needs at least one")
        return list(data)
    raise BadSample("unknown media", f"a {type(data).__name__} is neither a file, a folder nor a list of pictures")


def _pictures_in(folder: Path) -> list[Path]:
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    except OSError as error:
        raise BadSample("unreadable file", f"{folder} cannot be listed as frames: {error.strerror}") from None
    if not paths:
        raise BadSample("empty folder", f"{folder} holds no pictures")
    return paths


def uniform(total: int, count: int) -> list[int]:
    """Indices of ``count`` frames spread evenly from the first to the last of ``total``; all of them where fewer.

    ``linspace(0, total - 1, count)`` rounded down, as LLaVA-NeXT-Interleave chooses frames.
    """
    return [int(i) for i in np.linspace(0, total - 1, min(count, total))]


def existing_path(data: object) -> Path:
    """``data`` as a path. Raises BadSample where it is no path, or nothing is there."""
    if not isinstance(data, (str, Path)):
        raise BadSample("unknown media", f"a {type(data).__name__} is neither a path nor a picture")
    path = Path(data)
    try:
        if not path.exists():
            raise BadSample("missing file", f"{path} does not exist")
    except OSError as error:  # no permission, or a name that no disk takes
        raise BadSample("unreadable file", f"{str(path)[:200]} cannot be looked at: {error.strerror}") from None
    return path
