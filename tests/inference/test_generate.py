"""Replies: greedy as Transformers, batched as alone, cached as fresh, streamed as whole."""

from typing import Any

import pytest
import torch
from small_models import small_config, talk
from torch import Tensor

import interleave as il
from interleave.inference.generate import decode_reply
from interleave.inference.generation_options import generation_options
from interleave.model.assembly import assemble

QWEN: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 64, "initializer_range": 0.3,
}  # fmt: skip
SHORT: dict[str, Any] = {"max_new_tokens": 12}


@pytest.fixture
def lm() -> il.LM:
    torch.manual_seed(3)
    config = small_config(llm={"name": "qwen2", "config": QWEN})
    lm = il.LM(assemble(config), config)
    lm.model.eval()
    return lm


def picture(lm: il.LM, kind: str = "image") -> il.Media:
    return il.Media(kind, lm.adapters[kind].example())


def questions(lm: il.LM) -> list[il.Sample]:
    return [
        il.Sample([il.Message("user", ["hi"])]),
        il.Sample([il.Message("user", [picture(lm), "what is this, then?"])]),
        il.Sample([il.Message("user", ["and ", picture(lm, "video"), " is?"])]),
    ]


def transformers(lm: il.LM, sample: il.Sample, **options: Any) -> Tensor:
    """The new tokens that Transformers' own generate makes of our embeddings, without anything of ours."""
    llm = lm.model.llm
    llm.model.set_attn_implementation("eager")
    try:
        with torch.no_grad():
            embeds = lm.model.embed(lm.batch([sample], reply=True))
            chosen = {
                "do_sample": False,
                "eos_token_id": list(llm.tokenizer.stop_ids),
                "pad_token_id": llm.tokenizer.pad_id,
            }
            made: Tensor = llm.model.generate(inputs_embeds=embeds, **{**chosen, **options})[0]
            return made
    finally:
        llm.model.set_attn_implementation("documents")


@pytest.mark.parametrize("options", [{}, {"num_beams": 3}], ids=["greedy", "beams"])
def test_replies_are_those_of_transformers_batched_and_alone(options: dict[str, Any], lm: il.LM) -> None:
    samples = questions(lm)
    together = lm.reply(samples, **SHORT, **options)
    for sample, reply in zip(samples, together, strict=True):
        expected = transformers(lm, sample, **SHORT, **options).tolist()
        assert reply == decode_reply(lm.model.llm.tokenizer, expected, ())
        assert lm.reply([sample], **SHORT, **options) == [reply]
    assert len(set(together)) > 1, "a model that always says the same would prove nothing"


def test_a_repetition_penalty_is_that_of_transformers(lm: il.LM) -> None:
    """Alone: Transformers itself leaves the penalty out for some rows of a batch of embeddings."""
    for sample in questions(lm):
        expected = transformers(lm, sample, **SHORT, repetition_penalty=1.5).tolist()
        reply = decode_reply(lm.model.llm.tokenizer, expected, ())
        assert lm.reply([sample], **SHORT, repetition_penalty=1.5) == [reply]


def test_token_ids_in_are_token_ids_out(lm: il.LM) -> None:
    """Text alone, from ids on: Transformers embeds them itself."""
    llm = lm.model.llm
    batch = lm.batch(questions(lm)[:1], reply=True)
    ours = llm.generate(lm.model.embed(batch), torch.ones_like(batch.input_ids), **SHORT)
    theirs = llm.model.generate(
        batch.input_ids, **SHORT, do_sample=False, eos_token_id=list(llm.tokenizer.stop_ids),
        pad_token_id=llm.tokenizer.pad_id
    )  # fmt: skip
    assert ours.tolist() == theirs[:, batch.input_ids.shape[1] :].tolist()


def test_sampling_follows_its_seed_and_leaves_the_callers_chance_alone(lm: il.LM) -> None:
    hot = {"temperature": 2.0, **SHORT}
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = lm.chat("hi", seed=1, **hot)
    assert torch.equal(torch.rand(3), expected)
    assert lm.chat("hi", seed=1, **hot) == first
    assert len({lm.chat("hi", seed=seed, **hot) for seed in range(5)}) > 1
    assert lm.chat("hi", top_k=1, **SHORT) == lm.chat("hi", **SHORT)
    assert lm.chat("hi", top_p=1e-6, **SHORT) == lm.chat("hi", **SHORT)


@pytest.mark.parametrize("call", ["chat", "stream", "ask"])
def test_a_reply_ends_before_a_stop_string(call: str, lm: il.LM) -> None:
    whole = lm.chat("hi", **SHORT)
    at = next(i for i in range(2, len(whole) - 2) if whole.find(whole[i : i + 2]) == i)
    stop = whole[at : at + 2]
    for stops in (stop, ["never said", stop]):
        options = {"stop_strings": stops, **SHORT}
        said = {
            "chat": lambda o: lm.chat("hi", **o),
            "stream": lambda o: "".join(lm.stream("hi", **o)),
            "ask": lambda o: lm.session().ask("hi", **o),
        }[call](options)
        assert said == whole[:at]


def test_a_stream_is_the_reply_in_pieces(lm: il.LM) -> None:
    turn = il.Message("user", [picture(lm), "tell"])
    pieces = list(lm.stream([turn], max_new_tokens=40))
    assert "".join(pieces) == lm.chat([turn], max_new_tokens=40)
    assert len(pieces) > 3
    assert torch.is_inference_mode_enabled() is False


def test_pieces_never_break_a_character_or_show_a_stop_string(lm: il.LM, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reply of two, three and four bytes a character, token by token."""
    text = "Grüße 世界 🙂 STOP more"
    ids = lm.model.llm.tokenizer.encode(text, special=False)

    def say(embeds: Tensor, mask: Tensor, **options: Any) -> Tensor:
        options["streamer"].put(torch.zeros(1, 0))
        for token in ids:
            options["streamer"].put(torch.tensor([token]))
        return torch.tensor([ids])

    monkeypatch.setattr(lm.model.llm, "generate", say)
    pieces = list(lm.stream("x", stop_strings="STOP"))
    assert "".join(pieces) == "Grüße 世界 🙂 "
    assert not any("\ufffd" in piece or "S" in piece for piece in pieces)


def test_closing_a_stream_stops_the_work(lm: il.LM) -> None:
    import threading

    before = threading.active_count()
    pieces = lm.stream("hi", max_new_tokens=100_000)
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_an_error_while_streaming_reaches_the_reader(lm: il.LM, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **options: Any) -> Tensor:
        raise RuntimeError("broken")

    monkeypatch.setattr(lm.model.llm, "generate", fail)
    with pytest.raises(RuntimeError, match="broken"):
        list(lm.stream("hi"))


class Counter:
    """Positions that the language model computes and views that the vision side sees."""

    def __init__(self, lm: il.LM, monkeypatch: pytest.MonkeyPatch) -> None:
        self.positions = self.views = 0
        see = lm.model.encode_views

        def seen(pixels: Tensor) -> Tensor:
            self.views += len(pixels)
            return see(pixels)

        monkeypatch.setattr(lm.model, "encode_views", seen)
        lm.model.llm.model.model.layers[0].register_forward_hook(self.count)

    def count(self, module: Any, arguments: Any, output: Any) -> None:
        first = output[0] if isinstance(output, tuple) else output
        self.positions += first.shape[1]


def test_a_session_says_what_a_fresh_start_would_and_computes_only_what_is_new(
    lm: il.LM, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, turns = lm.session(), []
    asked = [il.Message("user", [picture(lm), "first?"]), il.Message("user", ["second, ", picture(lm, "video"), "?"]),
             il.Message("user", ["third?"])]  # fmt: skip
    fresh = []
    for turn in asked:
        turns.append(turn)
        fresh.append(lm.chat(turns, **SHORT))
        turns.append(il.Message("assistant", [fresh[-1]]))
    counter = Counter(lm, monkeypatch)
    assert [session.ask(turn, **SHORT) for turn in asked] == fresh
    assert session.messages == turns
    whole = len(lm.batch([il.Sample(turns)]).input_ids[0])
    assert counter.views == 1 + 4, "the picture and four frames, each once"
    assert counter.positions < whole + 3 * 8, "a second reading of anything would show"


def test_a_session_whose_past_was_changed_computes_it_again(lm: il.LM) -> None:
    session = lm.session()
    first = il.Message("user", [picture(lm), "a?"])
    session.ask(first, **SHORT)
    other = il.Media("image", 255 - lm.adapters["image"].example())
    session.messages[0] = il.Message("user", [other, "a?"])
    expected = lm.chat([*session.messages, il.Message("user", ["b?"])], **SHORT)
    assert session.ask("b?", **SHORT) == expected


def test_a_session_goes_on_after_beams_a_closed_stream_and_a_bad_picture(lm: il.LM) -> None:
    session = lm.session()
    session.ask("one", num_beams=2, **SHORT)
    pieces = session.stream("two", max_new_tokens=30)
    said = next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert session.messages[-1] == il.Message("assistant", [said])
    with pytest.raises(il.BadSample, match="does not exist"):
        session.ask(il.Message("user", [il.Media("image", "nowhere.png")]))
    expected = lm.chat([*session.messages, il.Message("user", ["three"])], **SHORT)
    assert session.ask("three", **SHORT) == expected


def test_unknown_options_and_streamed_beams_are_named(lm: il.LM) -> None:
    with pytest.raises(il.InputError, match="no option 'temprature'; did you mean 'temperature'"):
        lm.chat("hi", temprature=1.0)
    with pytest.raises(il.InputError, match="num_beams=3 cannot stream"):
        list(lm.stream("hi", num_beams=3))


def test_options_have_the_defaults_that_users_expect() -> None:
    assert generation_options({}).generate_kwargs == {"max_new_tokens": 256}
    assert generation_options({"temperature": 0.7}).generate_kwargs["do_sample"] is True
    assert generation_options({"stop_strings": "\n"}).stop_strings == ("\n",)


def test_training_mode_comes_back(lm: il.LM) -> None:
    lm.model.train()
    lm.reply([talk("hi")][:1], **SHORT)
    list(lm.stream("hi", **SHORT))
    assert lm.model.training
