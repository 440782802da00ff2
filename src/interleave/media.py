"""Files to pictures: the only place where media is opened and resized."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from .types import BadSample, InputError, VisionSpec

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"})


def load_image(data: Any) -> Image.Image:
    """A path, a PIL image or an array (H, W, 3) uint8 -> an RGB picture, decoded whole. Raises BadSample."""
    if isinstance(data, Image.Image):
        return data.convert("RGB")
    if isinstance(data, np.ndarray):
        return Image.fromarray(data).convert("RGB")
    path = existing(data)
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except UnidentifiedImageError:
        raise BadSample("not an image", f"{path} is not an image that Pillow can read") from None
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadSample("broken image", f"{path} cannot be decoded: {error}") from None


def load_frames(data: Any, count: int, reader: str = "pyav") -> tuple[list[Image.Image], list[float]]:
    """At most ``count`` uniform frames of a video file, a folder of frames or a list of pictures.

    Frames are chosen as in the paper, ``linspace(0, n - 1, count)`` rounded down. Returns them with their times in
    seconds; frames without a clock are one second apart. Raises BadSample.
    """
    if isinstance(data, (str, Path)) and existing(data).is_file():
        return READERS[reader](Path(data), count)
    pictures = list_frames(data)
    chosen = uniform(len(pictures), count)
    return [load_image(pictures[i]) for i in chosen], [float(i) for i in chosen]


def list_frames(data: Any) -> list[Any]:
    """A folder or a sequence -> its pictures in order, unopened."""
    if isinstance(data, (str, Path)):
        folder = existing(data)
        paths: list[Any] = sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
        if not paths:
            raise BadSample("empty folder", f"{folder} holds no pictures")
        return paths
    if isinstance(data, (Sequence, np.ndarray)):
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
    if not path.exists():
        raise BadSample("missing file", f"{path} does not exist")
    return path


def to_view(image: Image.Image, vision: VisionSpec, fit: str) -> Tensor:
    """A picture -> (3, S, S) uint8: bicubic, as the published models were trained; ``pad`` keeps the aspect ratio."""
    if fit == "pad" and image.width != image.height:
        side = max(image.size)
        red, green, blue = (int(255 * m) for m in vision.mean)
        canvas = Image.new("RGB", (side, side), (red, green, blue))
        canvas.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
        image = canvas
    if image.size != (vision.size, vision.size):
        image = image.resize((vision.size, vision.size), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def _read_pyav(path: Path, count: int) -> tuple[list[Image.Image], list[float]]:
    """One pass through the file, and another where the container claimed a few frames more than decode."""
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise BadSample("no video stream", f"{path} has no video stream")
            container.streams.video[0].thread_type = "AUTO"
            claimed = container.streams.video[0].frames or sum(1 for _ in container.decode(video=0))
            seen, total = _pass(container, uniform(claimed, count))
            if 0.9 * claimed <= total < claimed:
                seen, total = _pass(container, uniform(total, count))
    except (av.FFmpegError, OSError) as error:
        raise BadSample("broken video", f"{path} cannot be decoded: {error}") from None
    if total < 0.9 * claimed or not seen:
        raise BadSample("truncated video", f"{path} claims {claimed} frames and only {total} of them decode")
    return [image for image, _ in seen], [time for _, time in seen]


def _pass(container: Any, chosen: Sequence[int]) -> tuple[list[tuple[Image.Image, float]], int]:
    """The chosen frames with their times, and the number of all frames."""
    container.seek(0)
    rate = container.streams.video[0].average_rate or Fraction(1)
    seen, total = [], 0
    for frame in container.decode(video=0):
        if total in chosen:
            seen.append((frame.to_image(), float(frame.time if frame.time is not None else total / rate)))
        total += 1
    return seen, total


def _read_decord(path: Path, count: int) -> tuple[list[Image.Image], list[float]]:
    try:
        import decord
    except ImportError:
        raise InputError("reader 'decord' is not installed (it has no wheels for Arm or Mac); use 'pyav'") from None
    try:
        video = decord.VideoReader(str(path), num_threads=1)
        chosen = uniform(len(video), count)
        frames = video.get_batch(chosen).asnumpy()
        return [Image.fromarray(f) for f in frames], [float(video.get_frame_timestamp(i)[0]) for i in chosen]
    except (decord.DECORDError, RuntimeError) as error:
        raise BadSample("broken video", f"{path} cannot be decoded: {str(error).splitlines()[0]}") from None


READERS = {"pyav": _read_pyav, "decord": _read_decord}
