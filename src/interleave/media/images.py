"""Files to pictures: the only place where images are opened."""

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import overload

import numpy as np
from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError

from ..core.errors import BadSample, InputError, one_line
from .deep_pixels import DEEP_MODES, eight_bits
from .file_kinds import as_counted, is_picture

MAX_PIXELS = 178_956_970
"""The most pixels of a picture: as many as Pillow opens."""
UPRIGHT = 1
"""The orientation of EXIF that leaves a picture as it is stored."""

warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # of half as many pixels


def load_image(data: object) -> Image.Image:
    """A path, a file's bytes, a PIL image or an array (H, W, 3) uint8 -> an upright RGB picture, decoded.

    A PIL image that is so already comes back itself. Raises BadSample where it is none of these, or no picture.
    """
    if isinstance(data, Image.Image):
        with _decoding("a PIL image"):
            return as_rgb(data)
    if isinstance(data, np.ndarray):  # (H, W, 3)
        with _decoding(f"an array {data.shape} of {data.dtype}"):
            return as_rgb(Image.fromarray(data))
    with opened_image(data) as image:
        return as_rgb(image)


def as_rgb(image: Image.Image) -> Image.Image:
    """The picture decoded, upright, on white where it is transparent, in 8 bits of red, green and blue: itself where it
    is so already, else a copy."""
    if orientation(image) != UPRIGHT:
        image = ImageOps.exif_transpose(image)
    if image.has_transparency_data:  # drawings are made for the white of a page; without it they are often all black
        drawing = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", drawing.size, "white"), drawing)
    elif image.mode in DEEP_MODES:
        image = eight_bits(image)
    if image.mode != "RGB":
        return image.convert("RGB")
    image.load()  # decodes now, so that a broken file fails here
    return image


def orientation(image: Image.Image) -> int:
    """How a picture is turned and mirrored in its file, 1 to 8, as EXIF numbers it; 1 where it does not say."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, UPRIGHT)
    except Exception:  # noqa: BLE001 (whatever is wrong with the notes beside a picture, its pixels may be whole)
        return UPRIGHT
    return value if value in range(1, 9) else UPRIGHT


def is_turned(image: Image.Image) -> bool:
    """Whether width and height of an opened picture change places when it is made upright."""
    # 5 to 8 are turned by a quarter; of a TIFF, Pillow gives the size that it will have
    return orientation(image) > 4 and image.format != "TIFF"


def image_size(data: object) -> tuple[int, int]:
    """Width and height of what ``load_image`` returns; a file is not decoded for it. Raises BadSample."""
    if isinstance(data, (Image.Image, np.ndarray)):
        return load_image(data).size
    with opened_image(data) as image:
        return image.size[::-1] if is_turned(image) else image.size


@contextmanager
def opened_image(data: object) -> Iterator[ImageFile.ImageFile]:
    """An image file, by its path or as bytes, of which only the header is read. Whatever is raised inside for its
    content becomes BadSample."""
    name = f"an image of {len(data)} bytes" if isinstance(data, bytes) else str(existing_path(data))
    with _decoding(name), Image.open(io.BytesIO(data) if isinstance(data, bytes) else name) as image:
        yield image


@contextmanager
def _decoding(name: str) -> Iterator[None]:
    """Makes a BadSample of whatever is raised inside. Readers of Pillow raise more than they say for broken files."""
    try:
        yield
    except InputError:
        raise
    except UnidentifiedImageError:
        raise BadSample("not an image", f"{name} is not an image that Pillow can read") from None
    except Image.DecompressionBombError:
        raise BadSample("too large", f"{name} has more than {MAX_PIXELS:,} pixels, the most that are opened") from None
    except Exception as error:  # noqa: BLE001
        raise BadSample("broken image", f"{name} cannot be decoded: {one_line(error)}") from None


@overload
def list_frames(data: str | Path) -> Sequence[Path]: ...


@overload
def list_frames(data: object) -> Sequence[object]: ...


def list_frames(data: object) -> Sequence[object]:
    """The pictures of a folder in the order of ``counting_order``, or the elements of a sequence or array; none is
    opened.

    Raises BadSample where there is none, or ``data`` is neither.
    """
    if isinstance(data, (str, Path)):
        return pictures_in(existing_path(data))
    if isinstance(data, (Sequence, np.ndarray)) and not isinstance(data, bytes):
        if len(data) == 0:
            raise BadSample("no pictures", "a list of pictures is empty; it needs at least one")
        return list(data)
    raise BadSample("unknown media", f"a {type(data).__name__} is neither a file, a folder nor a list of pictures")


def pictures_in(folder: Path) -> list[Path]:
    """The pictures of a folder in the order of ``counting_order``. Raises BadSample where there is none."""
    try:
        paths = as_counted(path for path in folder.iterdir() if is_picture(path))
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
        found = path.exists()
    except (OSError, ValueError) as error:  # no permission, a name that no disk takes, or one with a NUL byte
        reason = getattr(error, "strerror", None) or error
        raise BadSample("unreadable file", f"{str(path)[:200]!r} cannot be looked at: {reason}") from None
    if not found:
        raise BadSample("missing file", f"{path} does not exist")
    return path
