"""A conversation that goes on: growing prompts and caches are what they would be anew, at the cost of what is new."""

import pytest
import torch
from small_models import small_config
from transformers import DynamicCache

import interleave as il
from interleave.core.types import Example
from interleave.inference import session as session_module
from interleave.inference.key_value_cache import reserving_cache
from interleave.model.assembly import Assembly, assemble
from interleave.processing.render import GrowingPrompt, render


@pytest.fixture
def lm() -> il.LM:
    torch.manual_seed(3)
    config = small_config()
    lm = il.LM(assemble(config), config)
    lm.model.eval()
    return lm


def assert_same(one: Example, other: Example) -> None:
    assert one.input_ids.tolist() == other.input_ids.tolist()
    assert one.labels.tolist() == other.labels.tolist()
    assert one.visual_positions.tolist() == other.visual_positions.tolist()
    assert one.spans == other.spans
    assert one.answers == other.answers
    for a, b in zip(one.visuals, other.visuals, strict=True):
        assert torch.equal(a.pixel_values, b.pixel_values)


def test_a_growing_prompt_is_the_conversation_rendered_anew(assembly: Assembly) -> None:
    """Also where an earlier message is changed by hand, messages go, or the last one is asked differently."""
    chat, adapters = assembly.model.llm.tokenizer, assembly.adapters
    picture = il.Media("image", adapters["image"].example())
    growing = GrowingPrompt(adapters, chat)
    said: list[il.Message] = []

    def check(question: il.Message) -> None:
        expected = render(il.Sample([*said, question]), adapters, chat, reply=True)
        assert_same(growing.render([*said, question]), expected)

    for turn in range(4):
        check(il.Message("user", ["asked and not answered"]))
        question = il.Message("user", [picture, f" number {turn}?"] if turn % 2 else [f"\n{turn}"])
        check(question)
        said += [question, il.Message("assistant", [f"answer {turn}"])]
    said[1] = il.Message("assistant", ["something else"])
    check(il.Message("user", ["and now?"]))
    said[2] = il.Message("user", [il.Media("image", 255 - adapters["image"].example()), " number 1?"])
    check(il.Message("user", ["and now?"]))
    del said[2:]
    check(il.Message("user", ["less"]))
    growing.render([il.Message("system", ["be brief"]), il.Message("user", ["hi"])])
    check(il.Message("user", ["less"]))


def test_a_bad_picture_leaves_the_growing_prompt_as_it_was(assembly: Assembly) -> None:
    chat, adapters = assembly.model.llm.tokenizer, assembly.adapters
    growing = GrowingPrompt(adapters, chat)
    said = [il.Message("user", ["a"]), il.Message("assistant", ["b"])]
    growing.render([*said, il.Message("user", ["c"])])
    broken = il.Message("user", [il.Media("image", "nowhere.png")])
    with pytest.raises(il.BadSample, match="does not exist"):
        growing.render([*said, broken, il.Message("assistant", ["d"]), il.Message("user", ["e"])])
    asked = [*said, il.Message("user", ["f"])]
    assert_same(growing.render(asked), render(il.Sample(asked), adapters, chat, reply=True))


def test_a_late_turn_encodes_and_embeds_no_more_than_an_early_one(lm: il.LM, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted, not timed: characters that are encoded, positions that are embedded, pictures that are hashed."""
    counts = {"characters": 0, "positions": 0, "hashed": 0}
    encode, embed, key = lm.model.llm.tokenizer.encode, lm.model.llm.embed, session_module.visual_key

    def counted_encode(text: str, special: bool) -> list[int]:
        counts["characters"] += len(text)
        return encode(text, special)

    def counted_embed(input_ids: torch.Tensor) -> torch.Tensor:
        counts["positions"] += input_ids.numel()
        return embed(input_ids)

    def counted_key(visual: il.Visual) -> str:
        counts["hashed"] += 1
        return key(visual)

    monkeypatch.setattr(lm.model.llm.tokenizer, "encode", counted_encode)
    monkeypatch.setattr(lm.model.llm, "embed", counted_embed)
    monkeypatch.setattr(session_module, "visual_key", counted_key)
    session = lm.session()
    picture = il.Media("image", lm.adapters["image"].example())
    turns = []
    for turn in range(12):
        counts.update(dict.fromkeys(counts, 0))
        session.ask(il.Message("user", [picture, "what?"] if turn == 0 else ["and then?"]), max_new_tokens=4)
        turns.append(dict(counts))
    for name in counts:
        assert turns[11][name] <= turns[2][name] + 8, turns  # a reply may be a few characters longer than another


def test_a_reserving_cache_holds_what_transformers_own_holds() -> None:
    """Over appending, cutting, growing out of the reserve, and what a beam search does to the rows."""
    torch.manual_seed(0)
    ours, theirs = reserving_cache(), DynamicCache()

    def both(length: int, rows: int = 2) -> None:
        for layer in range(2):
            keys, values = torch.randn(rows, 3, length, 4), torch.randn(rows, 3, length, 4)
            mine, own = ours.update(keys, values, layer), theirs.update(keys, values, layer)
            assert torch.equal(mine[0], own[0])
            assert torch.equal(mine[1], own[1])

    for length in (5, 1, 1, 300, 1):
        both(length)
    for cache in (ours, theirs):
        cache.crop(-20)
    both(3)
    for cache in (ours, theirs):
        cache.reorder_cache(torch.tensor([1, 0]))
    both(1)
    for cache in (ours, theirs):
        cache.batch_repeat_interleave(2)
    both(1, rows=4)
    assert ours.get_seq_length() == theirs.get_seq_length()


def test_a_reserving_cache_copies_what_is_kept_only_when_it_grows_out_of_its_room() -> None:
    cache = reserving_cache()
    places = set()
    for _ in range(200):
        keys, _ = cache.update(torch.randn(1, 2, 1, 4), torch.randn(1, 2, 1, 4), 0)
        places.add(keys.data_ptr())
    assert len(places) == 1
