"""Names of tensors: every layout's table is invertible, and older spellings mean the same tensors."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from published import PINPOINTS, llava, llava_15, onevision, original
from small_models import small_config

import interleave as il
from interleave.checkpoints import LAYOUTS, open_checkpoint
from interleave.checkpoints.llava_hf import Llava
from interleave.checkpoints.llava_onevision_hf import LlavaOnevision
from interleave.checkpoints.llava_original import Original
from interleave.checkpoints.native import Native
from interleave.checkpoints.tensor_names import NameTable
from interleave.model.assembly import assemble

LayoutClass = type[Native] | type[Original] | type[Llava] | type[LlavaOnevision]
LAYOUT_CLASSES: tuple[LayoutClass, ...] = (Native, Original, Llava, LlavaOnevision)


def _run(folder: Path) -> None:
    config = small_config()
    il.LM(assemble(config), config).save(folder)


def _unpadded(folder: Path) -> None:
    """The original layout; loading and saving it puts tensors that the model does not read under ``unused.``"""
    settings = {"mm_patch_merge_type": "spatial_unpad", "image_aspect_ratio": "anyres"}
    source = original(folder.with_name("source"), **settings, image_grid_pinpoints=PINPOINTS)
    il.load(source).save(folder)


SMALL_MODELS: dict[str, Callable[[Path], object]] = {
    "a run": _run,
    "a run of a published model": _unpadded,
    "original": original,
    "llava": llava,
    "llava of CLIP and Llama": llava_15,
    "llava-onevision": onevision,
}


@pytest.fixture(scope="module")
def native_names(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Native names of all tensors, by the layout of the small model that holds them."""
    names: dict[str, set[str]] = {layout: set() for layout in LAYOUTS}
    for write in SMALL_MODELS.values():
        folder = tmp_path_factory.mktemp("model") / "model"
        write(folder)
        checkpoint = open_checkpoint(folder)
        assert len(checkpoint.names) == len(checkpoint.tensors.file_of), "two tensors of a file have one native name"
        names[checkpoint.layout.name] |= set(checkpoint.names)
    assert all(names.values())
    return names


@pytest.mark.parametrize("used", [True, False])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_name_of_a_layouts_own_models_comes_back(
    layout: str, used: bool, native_names: dict[str, set[str]]
) -> None:
    for native in native_names[layout]:
        written = LAYOUTS[layout].from_native(native, used)
        assert written is not None, f"{layout} leaves out {native}, which its own models hold"
        assert LAYOUTS[layout].to_native(written) == native


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_published_name_is_left_out_or_comes_back_from_any_layout(
    layout: str, native_names: dict[str, set[str]]
) -> None:
    published = native_names["original"] | native_names["llava"] | native_names["llava-onevision"]
    left_out = set()
    for native in published:
        written = LAYOUTS[layout].from_native(native, used=True)
        if written is None:
            left_out.add(native)
        else:
            assert LAYOUTS[layout].to_native(written) == native
    assert left_out == ({"llm.newline"} if layout == "llava" else set())


@pytest.mark.parametrize("layout", LAYOUT_CLASSES, ids=lambda layout: layout.name)
def test_older_spellings_are_the_same_tensors(layout: LayoutClass, native_names: dict[str, set[str]]) -> None:
    every_name = set().union(*native_names.values())
    for spelling, native_spelling in layout.names.read_only:
        same = [name for name in every_name if name.startswith(native_spelling)]
        assert same, f"no small model has a tensor for the row {spelling!r}"
        for native in same:
            old_name = spelling + native.removeprefix(native_spelling)
            assert layout.names.to_native(old_name) == native


def test_a_layout_says_which_names_it_does_not_have() -> None:
    assert LAYOUTS["original"].to_native("model.vision_resampler.weight") is None
    assert LAYOUTS["original"].to_native("model.vision_tower.other.weight") is None
    assert LAYOUTS["original"].from_native("modality.scene3d.weight", used=True) is None
    assert LAYOUTS["llava"].to_native("image_newline") == "llm.newline"
    assert LAYOUTS["llava"].to_native("image_newline_of_another_kind") is None
    assert LAYOUTS["llava"].from_native("llm.newline", used=True) is None
    assert LAYOUTS["llava"].to_native("vision_resampler.weight") is None
    assert (
        LAYOUTS["native"].from_native("vision_encoder.head.weight", used=False) == "unused.vision_encoder.head.weight"
    )


NAMES = st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=4).map(".".join)


@given(NAMES)
def test_a_table_takes_the_longest_match_and_comes_back(rest: str) -> None:
    table = NameTable(
        written=[("x.", "one."), ("x.inner.", "two."), ("whole", "three"), ("", "four.")],
        read_only=[("old.", "one.")],
        refused=["x.inner.absent."],
    )
    expected = {"one.": "x.", "two.": "x.inner.", "four.": ""}
    for native, spelling in expected.items():
        assert table.from_native(native + rest) == spelling + rest
        assert table.to_native(spelling + rest) == native + rest
    assert table.to_native("old." + rest) == table.to_native("x." + rest) == "one." + rest
    assert table.to_native("x.inner.absent." + rest) is None
    assert table.to_native("whole") == "three"
    assert table.to_native("whole" + rest) == "four.whole" + rest
    assert table.from_native("five." + rest) is None
