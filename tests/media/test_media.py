"""Opening pictures and videos, and what cannot be opened."""

from pathlib import Path

import numpy as np
import pytest
import torch
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
