"""What becomes of samples that are larger than a row or a batch."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import small_config, talk

import interleave as il
from interleave.data.example_source import ExampleSource
from interleave.model.assembly import Assembly, assemble
from interleave.processing.over_length import ExampleLimits, OverLength


def frames(count: int) -> list[np.ndarray]:
    return [np.full((8, 8, 3), i, np.uint8) for i in range(count)]


def render(assembly: Assembly, sample: il.Sample, limits: ExampleLimits) -> il.Example:
    source = ExampleSource({}, assembly.adapters, assembly.model.llm.tokenizer, assembly.vision, limits=limits)
    return source.render(sample)


def clip(assembly: Assembly, frames_shown: int = 4, text: str = "what?") -> il.Sample:
    return talk(il.Media("video", frames(frames_shown)), text)


def length(assembly: Assembly, sample: il.Sample) -> int:
    return len(render(assembly, sample, ExampleLimits(10_000, 100)).input_ids)


def test_what_fits_stays_as_it_is(assembly: Assembly) -> None:
    example = render(assembly, clip(assembly), ExampleLimits(10_000, 4, "truncate_text"))
    assert example.notes == ()


def test_dropped_and_refused(assembly: Assembly) -> None:
    with pytest.raises(il.BadSample, match=r"test/1: an example of \d+ tokens does not fit into rows of 20"):
        render(assembly, clip(assembly), ExampleLimits(20, 9))
    with pytest.raises(il.InputError, match=r"data.over_length=drop leaves such samples out") as stop:
        render(assembly, clip(assembly), ExampleLimits(20, 9, "error"))
    assert not isinstance(stop.value, il.BadSample)


def test_fewer_frames_until_it_fits(assembly: Assembly) -> None:
    whole = length(assembly, clip(assembly))
    example = render(assembly, clip(assembly), ExampleLimits(whole - 1, 9, "fewer_frames"))
    assert example.views == 3
    assert [n.message for n in example.notes] == ["test/1: shown with 3 views instead of 4"]
    assert example.notes[0].action == "shortened"
    assert render(assembly, clip(assembly), ExampleLimits(10_000, 2, "fewer_frames")).views == 2
    with pytest.raises(il.BadSample, match="does not fit"):
        render(assembly, clip(assembly, text="x" * 5000), ExampleLimits(500, 9, "fewer_frames"))


def test_pictures_cannot_be_shown_with_less(assembly: Assembly) -> None:
    sample = talk(il.Media("image", frames(1)[0]), "what?")
    with pytest.raises(il.BadSample, match="does not fit"):
        render(assembly, sample, ExampleLimits(length(assembly, sample) - 1, 9, "fewer_frames"))


@pytest.mark.parametrize("labels", ["assistant", "published"])
@given(st.integers(1, 260))
@settings(max_examples=40, deadline=None)
def test_text_is_cut_at_the_end_never_inside_a_visual_and_never_the_whole_answer(labels: str, room: int) -> None:
    assembly = assemble(small_config())
    image = il.Media("image", frames(1)[0])
    turns = [il.Message("user", ["a", image, "b"]), il.Message("assistant", ["first answer"]),
             il.Message("user", [image, "c"]), il.Message("assistant", ["second one"])]  # fmt: skip
    source = ExampleSource({}, assembly.adapters, assembly.model.llm.tokenizer, assembly.vision)
    source = replace(source, rendering=replace(source.rendering, labels=labels))  # type: ignore[arg-type]
    whole = source.render(il.Sample(turns))
    cut = replace(source, limits=ExampleLimits(room, 9, "truncate_text"))
    if room <= whole.answers[0]:
        with pytest.raises(il.BadSample):
            cut.render(il.Sample(turns))
        return
    example = cut.render(il.Sample(turns))
    n = len(example.input_ids)
    assert n <= room
    assert example.input_ids.tolist() == whole.input_ids[:n].tolist()
    assert (example.labels[example.answers[0] :] >= 0).any(), "something of an answer is left"
    assert not any(start < n < end for start, end in whole.spans)
    assert sum(len(v.pixel_values) for v in example.visuals) == sum(end <= n for _, end in whole.spans)
    assert len(example.visual_positions) == sum(x for v in example.visuals for x in v.layout if isinstance(x, int))
    assert (n == room) or any(start == n for start, _ in whole.spans) or n == len(whole.input_ids)


@pytest.mark.parametrize("policy", ["fewer_frames", "truncate_text"])
def test_a_preference_is_about_whole_replies(assembly: Assembly, policy: OverLength) -> None:
    pair = il.Preference(talk("hi", answer="x" * 50), talk("hi", answer="y" * 50))
    source = ExampleSource(
        {}, assembly.adapters, assembly.model.llm.tokenizer, assembly.vision, limits=ExampleLimits(60, 9, policy)
    )
    with pytest.raises(il.BadSample, match="does not fit"):
        source.render(pair)
