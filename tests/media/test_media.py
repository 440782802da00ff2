"""Opening pictures and videos, and what cannot be opened."""

import contextlib
import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from videos import write_video

import interleave as il
from interleave.media.views import to_view


def test_uniform_is_linspace_rounded_down() -> None:
    assert il.uniform(300, 10) == [0, 33, 66, 99, 132, 166, 199, 232, 265, 299]
    assert il.uniform(3, 10) == [0, 1, 2]


def test_folders_and_lists_of_frames(tmp_path: Path) -> None:
    for i in (2, 0, 1):
        Image.fromarray(np.full((4, 4, 3), i, np.uint8)).save(tmp_path / f"{i:03d}.png")
    (tmp_path / "notes.txt").write_text("no picture")
    images, times = il.load_frames(tmp_path, 8)
    assert [np.asarray(i)[0, 0, 0] for i in images] == [0, 1, 2]
    assert times == [0, 1, 2]
    assert [np.asarray(i)[0, 0, 0] for i in il.load_frames(images, 2)[0]] == [0, 2]


def test_frames_come_as_people_count(tmp_path: Path) -> None:
    names = ["0", "1", "2", "10", "11", "100", "9" * 400]
    for number, name in enumerate(names):
        Image.new("RGB", (4, 4), (number, 0, 0)).save((tmp_path / name[:200]).with_suffix(".png"))
    (tmp_path / "._1.png").write_bytes(b"what macOS writes beside 1.png")
    images, _ = il.load_frames(tmp_path, 20)
    assert [image.getpixel((0, 0))[0] for image in images] == list(range(7))  # type: ignore[index]


@given(st.lists(st.text("01a9.", max_size=12), max_size=8))
def test_counting_order_is_one_order(names: list[str]) -> None:
    """It sorts everything, the same from any beginning, and padded numbers by their letters."""
    backwards = names[::-1]
    assert sorted(names, key=il.counting_order) == sorted(backwards, key=il.counting_order)
    padded = [f"{number:06}.png" for number in range(0, 200, 7)]
    assert sorted(padded, key=il.counting_order) == sorted(padded)
    falling = [f"f{number}.png" for number in range(119, -1, -1)]
    assert sorted(falling, key=il.counting_order) == falling[::-1]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_photos_are_upright(orientation: int, kind: str, tmp_path: Path) -> None:
    """As browsers show them: the corner that the camera took for the upper left is there."""
    upright = Image.fromarray(np.arange(20 * 12 * 3, dtype=np.uint16).reshape(12, 20, 3).astype(np.uint8) // 2)
    back = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]  # Image.Transpose that undoes it
    stored = upright if back is None else upright.transpose(Image.Transpose(back))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "a"
    stored.save(path, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    image = il.load_image(path)
    assert image.size == il.image_size(path) == (20, 12)
    if kind != "JPEG":  # which is not exact
        assert np.array_equal(np.asarray(image), np.asarray(upright))
    assert np.abs(np.asarray(image).astype(int) - np.asarray(upright)).mean() < 12


def test_broken_notes_beside_a_picture_do_not_lose_it(tmp_path: Path) -> None:
    Image.new("RGB", (8, 6), "red").save(tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert il.load_image(tmp_path / "a.jpg").size == (8, 6)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB"])
def test_drawings_stand_on_white(mode: str, tmp_path: Path) -> None:
    drawing = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    drawing.putpixel((1, 1), (0, 0, 0, 255))
    options: dict[str, Any] = {}
    if mode == "P":
        drawing, options = drawing.convert("P"), {"transparency": drawing.convert("P").getpixel((0, 0))}
        drawing.putpixel((1, 1), 10)
        drawing.putpalette([0, 0, 0] * 256)
    elif mode == "RGB":
        drawing, options = Image.new("RGB", (4, 4), (1, 2, 3)), {"transparency": (1, 2, 3)}
        drawing.putpixel((1, 1), (0, 0, 0))
    else:
        drawing = drawing.convert(mode)
    drawing.save(tmp_path / "a.png", **options)
    values = np.asarray(il.load_image(tmp_path / "a.png"))
    assert (values[1, 1] == 0).all()
    assert (np.delete(values.reshape(16, 3), 5, 0) == 255).all()


def test_deep_pictures_keep_their_levels(tmp_path: Path) -> None:
    wide = np.arange(0, 65_536, 16, dtype=np.uint16).reshape(64, 64)
    Image.fromarray(wide).save(tmp_path / "grey.png")
    assert np.array_equal(np.asarray(il.load_image(tmp_path / "grey.png"))[..., 0], wide >> 8)
    ramp = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    for values, expected in ((ramp, 255 * ramp), (255 * ramp, 255 * ramp), (ramp * 9000 - 4000, 255 * ramp)):
        Image.fromarray(values).save(tmp_path / "f.tiff")
        assert np.abs(np.asarray(il.load_image(tmp_path / "f.tiff"))[..., 0] - expected).max() <= 0.51
    Image.fromarray(np.full((3, 3), 7000.0, np.float32)).save(tmp_path / "flat.tiff")
    assert np.unique(np.asarray(il.load_image(tmp_path / "flat.tiff"))).size == 1
    ramp[0, 0] = np.nan
    Image.fromarray(ramp).save(tmp_path / "hole.tiff")
    assert np.asarray(il.load_image(tmp_path / "hole.tiff"))[15, 15, 0] == 255
    Image.fromarray(np.full((3, 3), np.inf, np.float32)).save(tmp_path / "none.tiff")
    with pytest.raises(il.BadSample, match="no finite value"):
        il.load_image(tmp_path / "none.tiff")


def test_what_is_too_large_asks_for_no_memory(tmp_path: Path) -> None:
    Image.new("1", (60_000, 1)).save(tmp_path / "line.png")
    with pytest.raises(il.BadSample, match=r"60000 x 1, filled up to a square, has more than 178,956,970 pixels"):
        to_view(il.load_image(tmp_path / "line.png"), il.VisionSpec(28, 14), "pad")
    assert to_view(il.load_image(tmp_path / "line.png"), il.VisionSpec(28, 14), "square").shape == (3, 28, 28)
    content = bytearray((tmp_path / "line.png").read_bytes())
    content[16:24] = (200_000).to_bytes(4, "big") * 2  # width and height in the header
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    (tmp_path / "bomb.png").write_bytes(content)
    with pytest.raises(il.BadSample, match="more than 178,956,970 pixels"):
        il.load_image(tmp_path / "bomb.png")


@pytest.mark.filterwarnings("ignore")  # which Pillow has for many of them
@pytest.mark.parametrize(
    "kind", ["AVIF", "PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "TGA", "DDS", "ICO", "JPEG2000"]
)
def test_damaged_pictures_are_bad_samples(kind: str) -> None:
    """Whatever Pillow's readers raise: bytes changed at random places, the same every time."""
    file, rng = io.BytesIO(), np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(file, kind)
    for _ in range(60):
        content = bytearray(file.getvalue())
        for place in rng.integers(0, len(content), rng.integers(1, 6)):
            content[place] = int(rng.integers(0, 256))
        with contextlib.suppress(il.BadSample):
            il.load_image(bytes(content[: rng.integers(1, len(content) + 1)] if rng.random() < 0.3 else content))


def broken_files(folder: Path) -> dict[str, Path]:
    picture, video = folder / "whole.jpg", write_video(folder / "whole.mp4")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(picture)
    files = {n: folder / n for n in ("cut.jpg", "text.png", "cut.mp4", "empty.mp4", "junk.mp4", "folder")}
    files["cut.jpg"].write_bytes(picture.read_bytes()[:900])
    files["text.png"].write_text("this is no picture")
    files["cut.mp4"].write_bytes(video.read_bytes()[:-2000])
    files["empty.mp4"].write_bytes(b"")
    files["junk.mp4"].write_bytes(bytes(range(256)) * 20)
    files["folder"].mkdir()
    return files


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("cut.jpg", "broken image"),
        ("text.png", "not an image"),
        ("cut.mp4", "broken video"),
        ("empty.mp4", "broken video"),
        ("junk.mp4", "broken video"),
        ("folder", "empty folder"),
    ],
)
@pytest.mark.parametrize("reader", ["pyav", "decord"])
def test_what_cannot_be_read_says_why_in_one_line(name: str, reason: str, reader: str, tmp_path: Path) -> None:
    path = broken_files(tmp_path)[name]
    with pytest.raises(il.BadSample) as bad:
        il.load_image(path) if path.suffix in (".jpg", ".png") else il.load_frames(path, 4, reader)
    assert bad.value.reason == reason
    assert str(path) in str(bad.value)
    assert "\n" not in str(bad.value)


@pytest.mark.parametrize("data", [None, 3, object()])
def test_data_of_other_types(data: object) -> None:
    with pytest.raises(il.BadSample, match="is neither"):
        il.load_image(data)
    with pytest.raises(il.BadSample, match="is neither"):
        il.load_frames(data, 2)
    with pytest.raises(il.BadSample, match="list of pictures is empty"):
        il.load_frames([], 2)


def test_views_are_padded_with_the_mean_colour_or_resized() -> None:
    wide = Image.new("RGB", (40, 20), (255, 0, 0))
    vision = il.VisionSpec(20, 4, mean=(0.2, 0.4, 0.6))
    padded, square = to_view(wide, vision, "pad"), to_view(wide, vision, "square")
    assert padded[:, 0, 0].tolist() == [51, 102, 153]
    assert padded[:, 10, 10].tolist() == [255, 0, 0]
    assert square.unique().tolist() == [0, 255]


def test_grey_and_transparent_pictures_become_rgb() -> None:
    for mode in ("L", "RGBA", "P", "1"):
        assert il.load_image(Image.new(mode, (4, 4))).mode == "RGB"


def test_multipatch_reads_row_by_row_over_all_tiles() -> None:
    """Each token of a picture of 2 x 2 tiles, numbered, comes out in the order of a page."""
    grid = 3
    adapter = il.modalities.build({"name": "multipatch"}, vision=il.VisionSpec(6, grid))
    visual = adapter.prepare(np.zeros((12, 12, 3), np.uint8))
    assert (visual.meta["rows"], visual.meta["cols"]) == (2, 2)
    numbers = torch.arange(5 * grid * grid).view(5, grid * grid, 1)
    page = adapter.merge(numbers, visual.meta)[grid * grid :].view(6, 6)
    first, second, third = (list(range(t * 9, t * 9 + 3)) for t in (1, 2, 3))
    assert page[0].tolist() == [*first, *second]
    assert page[1].tolist() == [*(x + 3 for x in first), *(x + 3 for x in second)]
    assert page[3].tolist()[:3] == third


@pytest.mark.parametrize(
    ("size", "tiling"),
    [
        ((64, 20), (1, 2)),
        ((20, 64), (2, 1)),
        ((64, 64), (2, 2)),
        ((200, 50), (1, 4)),
        ((200, 60), (2, 4)),
        ((9, 9), (1, 1)),
    ],
)
def test_the_tiling_follows_the_picture(size: tuple[int, int], tiling: tuple[int, int]) -> None:
    node = {"name": "multipatch", "pinpoints": "(1x1),...,(4x4)"}
    adapter = il.modalities.build(node, vision=il.VisionSpec(32, 4))
    meta = adapter.prepare(Image.new("RGB", size)).meta
    assert (meta["rows"], meta["cols"]) == tiling


def test_tiles_hold_their_part_of_the_picture() -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:32, 32:] = 255
    adapter = il.modalities.build({"name": "multipatch"}, vision=il.VisionSpec(32, 4))
    pixels = adapter.prepare(picture).pixel_values.float()
    assert [round(float(tile.mean())) for tile in pixels[1:]] == [0, 255, 0, 0]
