"""The published geometry: pixels, the number of tokens of everything shown, and which token shows what."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file

import interleave as il
from interleave.core.types import NEWLINE
from interleave.media.views import to_view

PUBLISHED = il.VisionSpec(384, 27)
SMALL = il.VisionSpec(32, 4)
UNPAD = "spatial_unpad"
PINPOINTS = [(384, 768), (768, 384), (768, 768), (1152, 384), (384, 1152)]


def adapter(name: str, vision: il.VisionSpec = PUBLISHED, **options: Any) -> il.ModalityAdapter:
    return il.modalities.build({"name": name, **options}, vision=vision)


def length(visual: il.Visual) -> int:
    """Tokens, newlines counted, which is all that these layouts hold."""
    assert all(isinstance(piece, int) or piece == NEWLINE for piece in visual.layout)
    return sum(piece if isinstance(piece, int) else 1 for piece in visual.layout)


def features(visual: il.Visual) -> int:
    return sum(piece for piece in visual.layout if isinstance(piece, int))


# --- the golden files ---


@pytest.mark.parametrize("fit", ["square", "pad"])
def test_pixels_are_the_published_ones(fit: str, shared: Path) -> None:
    wanted = load_file(shared / "golden" / "pixels_dog1.safetensors")[fit]
    pixels = to_view(il.load_image(shared / "media" / "dog1.jpg"), PUBLISHED, fit)
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (PUBLISHED.mean, PUBLISHED.std))
    torch.testing.assert_close((pixels / 255 - mean) / std, wanted, rtol=0, atol=3e-7)


def described(case: dict[str, Any]) -> dict[str, il.ModalityAdapter]:
    config, fit = case["config"], case["image_preparation"]
    unpad = config["mm_patch_merge_type"] == UNPAD
    pinpoints = config.get("image_grid_pinpoints", [])
    position = config.get("mm_newline_position", "one_token") if unpad else "none"
    stride, pool = config.get("mm_spatial_pool_stride", 1), config.get("mm_spatial_pool_mode", "average")
    return {
        "image": adapter("image", newline=unpad, fit=fit),
        "multipatch": adapter("multipatch", pinpoints=pinpoints, merge=config["mm_patch_merge_type"], fit=fit),
        "video": adapter("video", num_frames=32, pool=pool, stride=stride, newline=position, fit=fit),
    }


def test_golden_lengths(shared: Path) -> None:
    paths = sorted((shared / "golden" / "cases").glob("*.json"))
    assert paths
    for path in paths:
        case = json.loads(path.read_text())
        adapters = described(case)
        for sample in case["samples"]:
            shown = sample["media"]
            total = len(sample["input_ids"]) - len(shown)
            for one in shown:
                data = shared / "media" / one.get("file", one.get("folder", ""))
                total += length(adapters[one["kind"]].prepare(data))
            assert total == sample["length"], path.stem


# --- lengths by hand, n = 27 ---


@pytest.mark.parametrize(
    ("name", "options", "size", "tokens"),
    [
        ("image", {}, (640, 480), 729),
        ("image", {"newline": True, "fit": "pad"}, (640, 480), 730),
        ("multipatch", {"pinpoints": []}, (640, 480), 730),
        ("multipatch", {"pinpoints": None, "merge": "flat"}, (640, 480), 729),
        ("multipatch", {"pinpoints": "", "merge": "spatial"}, (640, 480), 729),
        # 768 x 768; 40.5 of 54 rows show it: pad (54 - 40) // 2 = 7, 40 rows of 54 and a newline
        ("multipatch", {"pinpoints": PINPOINTS}, (1024, 768), 729 + 40 * 55),
        ("multipatch", {"pinpoints": str(PINPOINTS)}, (1024, 768), 729 + 40 * 55),
        ("multipatch", {"pinpoints": PINPOINTS, "merge": "flat"}, (1024, 768), 5 * 729),
        ("multipatch", {"pinpoints": PINPOINTS, "merge": "spatial"}, (1024, 768), 5 * 729),
        # 752 * 54 / 1000 = 40.6 is floored before the margin is: 7, not 6
        ("multipatch", {"pinpoints": PINPOINTS}, (1000, 752), 729 + 40 * 55),
        # portrait: columns are left out, so all 54 rows have a newline: 40 columns
        ("multipatch", {"pinpoints": PINPOINTS}, (768, 1024), 729 + 54 * 41),
        # extremes: 1152 x 384, of 27 rows int(20 * 81 / 2000) = 0 show it, pad 13, the middle one is left
        ("multipatch", {"pinpoints": PINPOINTS}, (2000, 20), 729 + 1 * 82),
        ("multipatch", {"pinpoints": PINPOINTS}, (20, 2000), 729 + 81 * 2),
        # int(1000 * 54 / 999) = 54: the page is full
        ("multipatch", {"pinpoints": PINPOINTS}, (1000, 999), 729 + 54 * 55),
        # a small picture on one tile: overview, tile, and its newlines
        ("multipatch", {}, (300, 300), 729 + 27 * 28),
        # all of 2304 x 2304: 162 rows of 162
        ("multipatch", {"pinpoints": "(1x1),...,(6x6)"}, (3000, 3000), 729 + 162 * 163),
        # 1000 x 700 fits without loss on 3 x 2, scale 1.152 by 1.097; 81 columns of 54 rows, int(1000 * 54 / 700) = 77,
        # (81 - 77) // 2 = 2 columns go on each side
        ("multipatch", {"pinpoints": "(1x1),...,(6x6)"}, (1000, 700), 729 + 54 * 78),
        # sqrt(162 * 162 / (4 * 729)) = 3 > 1.1: 54 x 54
        ("multipatch", {"pinpoints": "(1x1),...,(6x6)", "max_tiles": 4}, (3000, 3000), 729 + 54 * 55),
        # 54 x 54 are sqrt(2) of 2 tiles: int(54 // 1.414) = 38
        ("multipatch", {"max_tiles": 2}, (900, 900), 729 + 38 * 39),
        # 54 x 54 are 2916 of 2187: 1.1547 > 1.1, 54 // 1.1547 = 46
        ("multipatch", {"max_tiles": 3}, (900, 900), 729 + 46 * 47),
        # 44 x 54 are 2376 of 2187: sqrt 1.04 is let pass
        ("multipatch", {"max_tiles": 3, "pinpoints": PINPOINTS}, (1000, 820), 729 + 44 * 55),
        # 40 x 54 = 2160 of 2187: less than the limit
        ("multipatch", {"max_tiles": 3, "pinpoints": PINPOINTS}, (1024, 768), 729 + 40 * 55),
        # 1 x 81 of 729; and 1 x 972, sqrt(972 / 729) = 1.1547, of which 972 // 1.1547 = 841 and not 0 rows are left
        ("multipatch", {"max_tiles": 1, "pinpoints": PINPOINTS}, (2000, 20), 729 + 82),
        ("multipatch", {"max_tiles": 1, "pinpoints": [[384 * 36, 384]]}, (20000, 20), 729 + 842),
    ],
)  # fmt: skip
def test_lengths_of_pictures(name: str, options: dict[str, Any], size: tuple[int, int], tokens: int) -> None:
    assert length(adapter(name, **options).prepare(Image.new("RGB", size))) == tokens


@pytest.mark.parametrize("name", ["video", "scene3d"])
@pytest.mark.parametrize(
    ("options", "tokens"),
    [
        ({}, 3 * 729),
        ({"stride": 2}, 3 * 169),
        ({"stride": 2, "pool": "max"}, 3 * 169),
        ({"stride": 2, "pool": "bilinear"}, 3 * 196),
        ({"stride": 2, "pool": "stride"}, 3 * 196),
        ({"stride": 4, "pool": "bilinear"}, 3 * 49),
        ({"newline": "one_token"}, 3 * 729 + 1),
        ({"newline": "frame"}, 3 * 730),
        ({"newline": "grid"}, 3 * 27 * 28),
        ({"newline": "grid", "stride": 2}, 3 * 13 * 14),
        ({"newline": "grid", "stride": 2, "pool": "bilinear"}, 3 * 14 * 15),
        ({"newline": "frame", "stride": 27}, 3 * 2),
    ],
)
def test_lengths_of_frames(name: str, options: dict[str, Any], tokens: int) -> None:
    frames = [Image.new("RGB", (40, 30))] * 3
    assert length(adapter(name, **options).prepare(frames)) == tokens


def test_where_newlines_stand() -> None:
    frames = [Image.new("RGB", (40, 30))] * 2
    newline = {
        how: adapter("video", SMALL, newline=how, stride=2).prepare(frames).layout
        for how in ("none", "one_token", "frame", "grid")
    }
    assert newline["none"] == [4, 4]
    assert newline["one_token"] == [4, 4, NEWLINE]
    assert newline["frame"] == [4, NEWLINE, 4, NEWLINE]
    assert newline["grid"] == [2, NEWLINE, 2, NEWLINE] * 2
    timed = adapter("video", SMALL, newline="grid", stride=2, times=True).prepare(frames).layout
    assert timed == ["0.0s ", 2, NEWLINE, 2, NEWLINE, "1.0s ", 2, NEWLINE, 2, NEWLINE]


# --- what tokens show ---


def raster(visual: il.Visual, grid: int) -> torch.Tensor:
    """Features that say where on the page their token stands: view 0 is -1, then (row, column): (V, P, 2)."""
    rows, cols = visual.meta["rows"], visual.meta["cols"]
    y, x = torch.meshgrid(torch.arange(rows * grid), torch.arange(cols * grid), indexing="ij")
    page = torch.stack([y, x], -1).float().view(rows, grid, cols, grid, 2).transpose(1, 2)
    return torch.cat([torch.full((1, grid * grid, 2), -1.0), page.reshape(rows * cols, grid * grid, 2)])


sides = st.integers(1, 400)
tiles = st.sampled_from(["(1x1),...,(2x2)", "(1x1),...,(6x6)", "(1x3),...,(2x5)", [(64, 32), (32, 96)]])


@settings(max_examples=150, deadline=None)
@given(sides, sides, tiles, st.sampled_from([None, 1, 2, 4, 9]), st.sampled_from(["flat", "spatial", UNPAD]))
def test_merge_makes_what_the_layout_promises(
    width: int, height: int, pinpoints: Any, max_tiles: int | None, merge: str
) -> None:
    limit = max_tiles if merge == UNPAD else None
    one = adapter("multipatch", SMALL, pinpoints=pinpoints, max_tiles=limit, merge=merge)
    visual = one.prepare(Image.new("RGB", (width, height)))
    made = one.merge(torch.randn(len(visual.pixel_values), SMALL.tokens, 3), visual.meta)
    assert len(made) == features(visual)


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(["average", "max", "bilinear", "stride"]), st.integers(1, 7), st.integers(1, 7), st.integers(1, 3)
)
def test_pooled_views_are_as_many_as_promised(pool: str, grid: int, stride: int, views: int) -> None:
    one = adapter("scene3d", il.VisionSpec(28, grid), pool=pool, stride=min(grid, stride))
    visual = one.prepare([Image.new("RGB", (9, 8))] * views)
    assert len(one.merge(torch.randn(views, grid * grid, 3), visual.meta)) == features(visual)


@settings(max_examples=100, deadline=None)
@given(sides, sides, tiles, st.sampled_from(["spatial", UNPAD]))
def test_tokens_come_row_by_row_without_gaps(width: int, height: int, pinpoints: Any, merge: str) -> None:
    one = adapter("multipatch", SMALL, pinpoints=pinpoints, merge=merge)
    visual = one.prepare(Image.new("RGB", (width, height)))
    made = one.merge(raster(visual, SMALL.grid), visual.meta)
    assert (made[: SMALL.tokens] == -1).all()
    page = made[SMALL.tokens :].int().tolist()
    rows, cols = ({place[axis] for place in page} for axis in (0, 1))
    assert page == [[y, x] for y in sorted(rows) for x in sorted(cols)]
    for places in (rows, cols):
        assert not places or len(places) == max(places) - min(places) + 1


@settings(max_examples=100, deadline=None)
@given(sides, sides, tiles)
def test_the_rows_that_stay_are_those_that_show_the_picture(width: int, height: int, pinpoints: Any) -> None:
    """A white picture on the black page: how white a token is tells whether it shows the picture."""
    one = adapter("multipatch", SMALL, pinpoints=pinpoints)
    visual = one.prepare(Image.new("RGB", (width, height), (255, 255, 255)))
    grid, patch = SMALL.grid, SMALL.size // SMALL.grid
    white = (
        visual.pixel_values[:, 0].float().div(255).view(-1, grid, patch, grid, patch).mean((2, 4)).flatten(1)[..., None]
    )
    kept = one.merge(white, visual.meta)[SMALL.tokens :]
    everything = white[1:].sum()
    assert (kept > 0).all()
    lost = (everything - kept.sum()) / max(visual.meta["rows"], visual.meta["cols"]) / grid
    assert lost <= 2 * (0.5 + 2 / patch)  # of a token, on both sides: the published rounding


def test_a_shrunk_page_still_shows_the_same_places() -> None:
    one = adapter("multipatch", SMALL, pinpoints="(1x1),...,(6x6)", max_tiles=4)
    visual = one.prepare(Image.new("RGB", (192, 192)))
    assert (visual.meta["height"], visual.meta["width"]) == (8, 8)
    page = one.merge(raster(visual, 4), visual.meta)[SMALL.tokens :].view(8, 8, 2)
    # 24 tokens become 8: each is the middle one of three, as corners are not aligned
    wanted = torch.arange(8) * 3.0 + 1
    torch.testing.assert_close(page[:, :, 0], wanted[:, None].expand(8, 8))
    torch.testing.assert_close(page[:, :, 1], wanted[None].expand(8, 8))


def test_pooling_by_hand() -> None:
    view = torch.arange(9.0).view(1, 9, 1)  # 0 1 2 / 3 4 5 / 6 7 8
    wanted = {
        "average": [2.0],
        "max": [4.0],
        "stride": [0.0, 2.0, 6.0, 8.0],
        "bilinear": [1.0, 2.5, 5.5, 7.0],  # at 0.25 and 1.75 tokens
    }
    for pool, values in wanted.items():
        one = adapter("video", il.VisionSpec(6, 3), pool=pool, stride=2)
        torch.testing.assert_close(one.merge(view, {})[:, 0], torch.tensor(values))


def test_the_picture_stands_in_the_middle_of_a_black_page() -> None:
    one = adapter("multipatch", SMALL, pinpoints=[(96, 32)], fit="pad")
    pixels = one.prepare(Image.new("RGB", (30, 15), (200, 100, 50))).pixel_values
    page = torch.cat(list(pixels[1:]), -1)
    inside = page.sum(0) > 0
    assert inside[0].nonzero().flatten().tolist() == list(range(16, 80))  # ceil(30 * 32 / 15) = 64 of 96
    assert inside[:, 16].all()
    assert pixels[0].unique().tolist() == [50, 100, 200]  # the overview is resized directly, not padded
    alone = adapter("multipatch", SMALL, pinpoints=[], fit="pad").prepare(Image.new("RGB", (30, 15), (200, 100, 50)))
    assert alone.pixel_values[0, :, 0, 0].tolist() == [127, 127, 127]


def test_the_best_page_keeps_most_then_wastes_least_then_comes_first() -> None:
    def page(size: tuple[int, int], pinpoints: Any) -> tuple[int, int]:
        meta = adapter("multipatch", SMALL, pinpoints=pinpoints).prepare(Image.new("RGB", size)).meta
        return meta["cols"], meta["rows"]

    assert page((64, 64), "(1x1),...,(6x6)") == (2, 2)  # the mini data's pictures
    assert page((64, 64), "(1x1),...,(2x2)") == (2, 2)
    assert page((40, 40), [(64, 32), (32, 64)]) == (2, 1)
    assert page((40, 40), [(32, 64), (64, 32)]) == (1, 2)
    assert page((10, 10), [(96, 96), (64, 64)]) == (2, 2)


# --- what cannot be ---


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("video", {"stride": 5}, "stride is 5; it must be from 1 to the 4 tokens a side of a view"),
        ("scene3d", {"stride": 0}, "stride is 0; it must be from 1 to the 4 tokens"),
        ("video", {"pool": 2}, "modality.video.pool is 2: input should be 'average', 'max', 'bilinear' or 'stride'"),
        ("multipatch", {"pinpoints": [(48, 32)]}, "pinpoints has 48 x 32 pixels, which is no whole number of tiles"),
        ("multipatch", {"pinpoints": "(0x1),...,(2x2)"}, "pinpoints has 0 x 32 pixels"),
        ("multipatch", {"pinpoints": "(2x2),...,(1x1)"}, r"pinpoints is '\(2x2\),...,\(1x1\)'; it must be a range"),
        ("multipatch", {"pinpoints": "many"}, "pinpoints is 'many'; it must be a range in tiles"),
        ("multipatch", {"max_tiles": 0}, "max_tiles is 0 with merge=spatial_unpad; it must be at least 1"),
        (
            "multipatch",
            {"max_tiles": 4, "merge": "flat"},
            "max_tiles is 4 with merge=flat; .* needs merge=spatial_unpad",
        ),
    ],
)
def test_options_that_cannot_be(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(il.InputError, match=message):
        adapter(name, SMALL, **options)


def test_tokens_before_the_patches_are_kept_or_refused() -> None:
    vision = il.VisionSpec(32, 4, prefix=1)
    picture = np.zeros((32, 64, 3), np.uint8)
    assert adapter("image", vision).prepare(picture).layout == [17]
    assert adapter("video", vision, newline="frame").prepare([picture] * 2).layout == [17, NEWLINE] * 2
    flat = adapter("multipatch", vision, merge="flat")
    visual = flat.prepare(picture)
    assert visual.layout == [17] * 3
    assert len(flat.merge(torch.zeros(3, 17, 2), visual.meta)) == 51
    for name, options in (
        ("video", {"stride": 2}),
        ("scene3d", {"newline": "grid"}),
        ("multipatch", {}),
        ("multipatch", {"merge": "spatial"}),
    ):
        with pytest.raises(
            il.InputError, match="needs views of 4 x 4 tokens, and the vision encoder puts 1 more before"
        ):
            adapter(name, vision, **options)
    assert adapter("multipatch", vision, pinpoints=[]).prepare(picture).layout == [17, NEWLINE]
