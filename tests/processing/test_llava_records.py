"""LLaVA and M4 records, and what is wrong with bad ones."""

import json
from pathlib import Path
from typing import Any

import pytest

import interleave as il
from interleave.data.annotations import read_json


def record(value: str = "<image>Hi", answer: str = "Ho", **more: Any) -> dict[str, Any]:
    turns = [{"from": "human", "value": value}, {"from": "gpt", "value": answer}]
    return {"id": "7", "image": "a.png", "conversations": turns, "metadata": {"dataset": "set"}, **more}


def test_media_stand_where_the_placeholders_are(tmp_path: Path) -> None:
    sample = il.sample_from_llava(record("x <image> y <image> z", image=["a.png", "b.png"]), tmp_path)
    a, b = (il.Media("image", tmp_path / n) for n in ("a.png", "b.png"))
    assert list(sample.messages[0].content) == ["x ", a, " y ", b, " z"]
    assert (sample.messages[1], sample.name) == (il.Message("assistant", ["Ho"]), "set/7")


def test_kinds_follow_what_a_record_holds(tmp_path: Path) -> None:
    kinds = {"single": "multipatch", "several": "scene3d"}
    one = il.sample_from_llava(record(), tmp_path, kinds)
    assert one.messages[0].content[0] == il.Media("multipatch", tmp_path / "a.png")
    views = il.sample_from_llava(record(image=["a.png", "b.png"]), tmp_path, kinds)
    assert views.messages[0].content[0] == il.Media("scene3d", [tmp_path / "a.png", tmp_path / "b.png"])
    clip = il.sample_from_llava(record(image=None, video="c.mp4"), tmp_path, kinds)
    assert clip.messages[0].content[0] == il.Media("video", tmp_path / "c.mp4")


def test_a_scene_is_one_piece_of_media(tmp_path: Path) -> None:
    """A path, or an object that says more of one; its path stays below the media folder, too."""
    one = il.sample_from_llava(record(image=None, scene="rooms/a"), tmp_path)
    assert one.messages[0].content[0] == il.Media("scene3d", tmp_path / "rooms/a")
    moment = {"path": "nuscenes", "sample": "123"}
    two = il.sample_from_llava(record("<image> or <image>", image=None, scene=["b/transforms.json", moment]), tmp_path)
    a, b = (part for part in two.messages[0].content if isinstance(part, il.Media))
    assert (a.data, b.data) == (tmp_path / "b/transforms.json", {"path": tmp_path / "nuscenes", "sample": "123"})
    with pytest.raises(il.BadSample, match="leads out of the media folder"):
        il.sample_from_llava(record(image=None, scene={"path": "../etc"}), tmp_path)
    with pytest.raises(il.BadSample, match="1 <image> placeholders for 2 pieces"):
        il.sample_from_llava(record(scene="rooms/a"), tmp_path)
    pair = {"prompt": "Where?", "scene": moment, "chosen": "a", "rejected": "b"}
    assert il.preference_from_llava(pair, tmp_path).chosen.messages[0].content[0] == b


def test_a_reply_drops_the_last_answer(tmp_path: Path) -> None:
    assert [t.role for t in il.sample_from_llava(record(), tmp_path, reply=True).messages] == ["user"]


def turns(*roles: str, text: str = "hi") -> list[dict[str, str]]:
    return [{"from": r, "value": text} for r in roles]


@pytest.mark.parametrize(
    ("bad", "reason", "message"),
    [
        (record("<image> <image> <image>"), "placeholders", "3 <image> placeholders for 1 pieces of media"),
        (record(image=["a.png", "b.png"]), "placeholders", "1 <image> placeholders for 2 pieces"),
        (record("Hi"), "placeholders", "0 <image> placeholders for 1 pieces"),
        (record(image="../../etc/hostname"), "path outside media", "leads out of the media folder"),
        (record(answer=" "), "empty answer", "an answer is empty"),
        (record(image=None, conversations=[]), "no turns", "has no turns"),
        (record(image=None, conversations=turns("human", "robot")), "unknown role", "role 'robot' is none of"),
        (record(image=None, conversations=turns("gpt", "human")), "turn order", "turns go assistant, user"),
        (record(image=None, conversations=turns("human")), "no answer", "ends without an answer"),
        (record(image=None, conversations=[{"from": "human"}]), "no text", "human turn has no text"),
    ],
)
def test_bad_records_say_why(bad: dict[str, Any], reason: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(il.BadSample, match=message) as error:
        il.sample_from_llava(bad, tmp_path)
    assert error.value.reason == reason


def test_files_of_records(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([{"id": 1}]))
    (tmp_path / "a.jsonl").write_text('{"id": 1}\n\n{"id": 2}\n')
    assert len(read_json(tmp_path / "a.json")) == 1
    assert len(read_json(tmp_path / "a.jsonl")) == 2
    for text, message in (
        ("[{", "is not JSON"),
        ('{"a": 1}', "holds no list of records"),
        ("[1]", "item 0 is a int, and no object"),
    ):
        (tmp_path / "b.json").write_text(text)
        with pytest.raises(il.InputError, match=message):
            read_json(tmp_path / "b.json")
    with pytest.raises(il.InputError, match=r"c\.json does not exist"):
        read_json(tmp_path / "c.json")


def test_the_real_bad_records_are_all_found(shared: Path) -> None:
    """All but the last of the hard records are bad; the last keeps its markers as letters."""
    from small_models import small_config

    from interleave.data.example_source import ExampleSource
    from interleave.model.assembly import assemble

    folder = shared / "data" / "m4_real_mini"
    dataset = il.datasets.build(
        {"name": "llava_json", "path": str(folder / "broken.json"), "media": str(shared / "media")}
    )
    assembly = assemble(small_config())
    source = ExampleSource({"broken": dataset}, assembly.adapters, assembly.model.llm.tokenizer, assembly.vision)
    *bad, good = (source.example("broken", i) for i in range(len(dataset)))
    assert [b.reason for b in bad if isinstance(b, il.BadSample)] == [
        "missing file", "broken image", "not an image", "placeholders", "path outside media", "empty answer",
        "no turns", "unknown role", "broken video",
    ]  # fmt: skip
    assert not isinstance(good, il.BadSample)
    assert int((good.input_ids >= 256).sum()) - len(good.visual_positions) < 40
