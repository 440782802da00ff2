"""Pictures as tensors: what torchvision decodes and torch resizes, against Pillow."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from videos import write_video

import interleave as il
from interleave.media import pixels
from interleave.media.pixels import load_pixels
from interleave.media.views import to_view

VISION = il.VisionSpec(96, 4, mean=(0.2, 0.4, 0.6))


def photo(width: int, height: int) -> Image.Image:
    """Smooth waves with some grain."""
    y, x = np.mgrid[:height, :width]
    waves = [120 + 80 * np.sin((x * a + y * b) / 30) for a, b in ((1, 0.3), (0.2, 1), (0.7, -0.6))]
    grain = np.random.default_rng(0).normal(0, 3, (height, width, 1))
    return Image.fromarray(np.clip(np.stack(waves, -1) + grain, 0, 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def read_by(read: Callable[[Path], NDArray[np.uint8]], path: Path) -> str | bytes:
    """The pixels that a function reads, or what it says of a file that it cannot read."""
    try:
        return read(path).tobytes()
    except il.BadSample as bad:
        return str(bad)


def kinds() -> dict[str, bytes]:
    """The same picture in every form that must still be read."""
    image, turned = photo(201, 103), Image.Exif()
    turned[0x0112] = 6  # a phone held upright
    return {
        "whole chroma": encoded(image, "JPEG", subsampling=0),
        "half chroma": encoded(image, "JPEG", subsampling=1),
        "quarter chroma": encoded(image, "JPEG", subsampling=2),
        "progressive": encoded(image, "JPEG", progressive=True),
        "turned": encoded(image, "JPEG", exif=turned),
        "kept as RGB": encoded(image, "JPEG", keep_rgb=True),
        "grey JPEG": encoded(image.convert("L"), "JPEG"),
        "CMYK": encoded(image.convert("CMYK"), "JPEG"),
        "several in one file": encoded(image, "MPO", save_all=True, append_images=[image]),
        "PNG": encoded(image, "PNG"),
        "palette": encoded(image.convert("P"), "PNG"),
        "transparent": encoded(image.convert("RGBA"), "PNG"),
        "16 bit": encoded(Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000), "PNG"),
        "WebP": encoded(image, "WEBP"),
        "GIF": encoded(image, "GIF"),
        "TIFF": encoded(image, "TIFF"),
        "BMP": encoded(image, "BMP"),
    }


@pytest.mark.parametrize("kind", kinds())
def test_every_kind_has_the_values_that_pillow_reads(kind: str) -> None:
    data = kinds()[kind]
    expected = torch.from_numpy(np.array(il.load_image(data))).permute(2, 0, 1)
    assert torch.equal(load_pixels(data), expected)


def test_shared_pictures_have_the_values_that_pillow_reads(shared: Path) -> None:
    paths = [path for path in (shared / "media").iterdir() if path.suffix in (".jpg", ".jpeg", ".png")]
    for path in [*paths, *(shared / "cases").glob("image_*/*.*g")]:
        assert read_by(lambda data: np.array(il.load_image(data)), path) == read_by(
            lambda data: load_pixels(data).permute(1, 2, 0).numpy(), path
        )


def test_jpegs_are_decoded_by_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the values would be right and slow."""
    monkeypatch.setattr(pixels, "as_rgb", None)
    assert load_pixels(kinds()["progressive"]).shape == (3, 103, 201)


@pytest.mark.parametrize("cut", [200, 2000, -300])
def test_broken_files_say_the_same(cut: int) -> None:
    data = kinds()["quarter chroma"][:cut]
    with pytest.raises(il.BadSample) as bad:
        il.load_image(data)
    with pytest.raises(il.BadSample) as found:
        load_pixels(data)
    assert (found.value.reason, str(found.value)) == (bad.value.reason, str(bad.value))


@pytest.mark.parametrize("fit", ["square", "pad"])
@pytest.mark.parametrize("size", [(800, 600), (300, 700), (50, 40), (96, 96)])
def test_torch_resizes_to_within_one_grey_level(size: tuple[int, int], fit: str) -> None:
    image = photo(*size)
    expected = to_view(image, VISION, fit).int()
    difference = (to_view(load_pixels(image), VISION, fit).int() - expected).abs()
    assert difference.max() <= 1
    # Pillow shrinks the columns of tall pictures first, so that more values are rounded otherwise
    assert (difference > 0).float().mean() < (0.2 if size[1] > size[0] else 0.005)


@pytest.mark.parametrize("name", ["image", "multipatch", "video", "scene3d"])
def test_each_modality_takes_pillows_bits_or_torchs(name: str) -> None:
    image = photo(400, 300)
    data: object = [image] if name in ("video", "scene3d") else image
    made = {
        resize: il.modalities.build({"name": name, "resize": resize}, vision=VISION).prepare(data).pixel_values
        for resize in ("pillow", "torch", "scaled")
    }
    assert torch.equal(made["pillow"][0], to_view(image, VISION, "square"))
    assert torch.equal(made["torch"][0], to_view(load_pixels(image), VISION, "square"))
    assert not torch.equal(made["pillow"], made["torch"])
    assert torch.equal(made["torch"], made["scaled"])  # a decoded picture is not decoded


def test_tiles_are_cut_from_the_page_of_pillow() -> None:
    """The published way, by hand: the picture on a black page, in tiles row by row."""
    image = photo(300, 170)
    node = {"name": "multipatch", "resize": "pillow", "pinpoints": [(192, 192)]}
    views = il.modalities.build(node, vision=VISION).prepare(image).pixel_values
    page = Image.new("RGB", (192, 192))
    page.paste(image.resize((192, 109), Image.Resampling.BICUBIC), (0, (192 - 109) // 2))
    for number, corner in enumerate([(0, 0), (96, 0), (0, 96), (96, 96)], start=1):
        tile = page.crop((*corner, corner[0] + 96, corner[1] + 96))
        assert np.array_equal(views[number].permute(1, 2, 0), np.array(tile)), number


def test_large_jpegs_are_decoded_no_smaller_than_needed() -> None:
    data = encoded(photo(1600, 1200), "JPEG", quality=95)
    assert load_pixels(data, (96, 96)).shape == (3, 150, 200)  # an eighth
    assert load_pixels(data, (192, 192)).shape == (3, 300, 400)  # 1200 / 8 = 150 were too few
    assert load_pixels(kinds()["PNG"], (16, 16)).shape == (3, 103, 201)
    whole = il.modalities.build({"name": "image"}, vision=VISION).prepare(data).pixel_values
    scaled = il.modalities.build({"name": "image", "resize": "scaled"}, vision=VISION).prepare(data).pixel_values
    assert (whole.float() - scaled.float()).abs().mean() < 1
    node = {"name": "multipatch", "resize": "scaled", "pinpoints": "(1x1),...,(2x2)"}
    assert il.modalities.build(node, vision=VISION).picture(data, (192, 192)).shape == (3, 300, 400)


def test_frames_of_a_clip_come_as_they_are_decoded(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4")
    frames, times = il.load_frames(path, 3)
    made = {
        resize: il.modalities.build({"name": "video", "num_frames": 3, "resize": resize}, vision=VISION).prepare(path)
        for resize in ("pillow", "torch")
    }
    assert torch.equal(made["pillow"].pixel_values, torch.stack([to_view(frame, VISION, "square") for frame in frames]))
    difference = (made["torch"].pixel_values.int() - made["pillow"].pixel_values.int()).abs()
    assert difference.max() <= 1
    assert len(times) == 3


def test_arrays_are_not_changed_by_what_becomes_of_them() -> None:
    array = np.asarray(photo(30, 20))  # Pillow's memory, which is read only
    assert load_pixels(array).shape == (3, 20, 30)
    assert load_pixels(array[:, ::-1]).shape == (3, 20, 30)  # steps backwards, which torch cannot
    assert load_pixels(array[:, :, 0]).shape == (3, 20, 30)  # grey
