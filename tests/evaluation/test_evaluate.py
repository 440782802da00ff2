"""Asking, scoring, results on disk and the terminal's chat."""

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from colours_task import Colours
from command_line import TINY
from PIL import Image
from published import PINPOINTS, llava, onevision, original
from rich.console import Console
from small_models import small_config

import interleave as il
from interleave.checkpoints import save_config, save_weights
from interleave.cli import main
from interleave.core.types import Segments
from interleave.evaluation.audit import AuditRow
from interleave.evaluation.evaluate import evaluate
from interleave.evaluation.results import GroupResult, results_from_json, results_table, results_to_json
from interleave.evaluation.runner import Settings
from interleave.export.convert import convert
from interleave.inference.chat_command import PICTURE, chat_command, user_message, with_modalities
from interleave.inference.generate import generate, right_align
from interleave.inference.lm import LM
from interleave.inference.session import Session
from interleave.model.assembly import Assembly
from interleave.scoring.metrics import chosen_letter


@pytest.fixture
def lm(assembly: Assembly) -> LM:
    return LM(assembly, small_config())


def test_results_say_what_was_asked_and_what_was_lost(lm: LM, tmp_path: Path) -> None:
    results = evaluate(lm, {"colours": Colours()}, tmp_path, Settings(batch=4))
    content = results_to_json(results)
    assert results_from_json(json.loads(json.dumps(content))) == results
    rows: dict[str, Any] = content["colours"]["as it is"]
    low, high = rows["low"].pop("interval")
    assert 0 < low < 0.5 < high < 1
    assert rows == {
        "low": {"accuracy": 0.5, "chance": 0.25, "n": 8},
        "low/even": {"accuracy": 0.0, "chance": 0.25, "n": 4, "interval": [0, 0]},
        "low/odd": {"accuracy": 1.0, "chance": 0.25, "n": 4, "interval": [1, 1]},
    }
    rows["low"]["interval"] = [low, high]
    written = json.loads((tmp_path / "results.json").read_text())
    assert written["results"] == content
    assert written["items"] == 9
    assert written["skipped"] == ["colours[2]: the sample: nowhere.png does not exist"]
    replies = [json.loads(line) for line in (tmp_path / "replies.jsonl").read_text().splitlines()]
    assert [r["index"] for r in replies] == list(range(9))
    assert [r["reply"] is None for r in replies] == [i == 2 for i in range(9)]
    assert results_table(results, "colours").row_count == 3


@pytest.mark.parametrize("num_items", [200, 12345])
@pytest.mark.parametrize("conditions", [1, 3, 6])
def test_a_table_of_80_columns_cuts_no_number(num_items: int, conditions: int) -> None:
    groups = ["single_image", "single_image/where", "transfer", "transfer/scene3d_held_out_colour"]
    names = ["as it is", "blank", "reversed", "in front", "shuffled frames", "one picture"][:conditions]
    result = GroupResult({"accuracy": 0.845}, "accuracy", (0.795, 0.895), 0.125, num_items)
    results = {"mini": {name: dict.fromkeys(groups, result) for name in names}}
    missing = AuditRow(says="1 of 2 items run; 1 unreadable (1 missing file)")
    console = Console(width=80, file=io.StringIO(), record=True)
    console.print(results_table(results, "mini", {"mini": {"all": missing, "transfer": missing}}))
    text = console.export_text()
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    for number, columns in {"0.845": conditions, "0.80-0.90": 1, "0.125": 1, str(num_items): 1}.items():
        rows = conditions if conditions > 3 and number != "0.845" else 1
        assert text.count(number) == len(groups) * columns * rows, number
    flat = " ".join(text.split())
    assert "transfer: 1 of 2 items run; 1 unreadable (1 missing file)" in flat


def test_a_table_of_a_task_without_grades_says_so() -> None:
    console = Console(width=80, file=io.StringIO(), record=True)
    drawn = results_table({}, "vdd", {"vdd": {"all": AuditRow(says="9 not graded")}})
    assert len(drawn.columns) == 3
    console.print(drawn)
    assert re.search(r"^ all +0 *$", text := console.export_text(), re.MULTILINE), text
    assert "9 not graded" in text


def test_the_size_of_a_batch_changes_no_reply(lm: LM, tmp_path: Path) -> None:
    texts = []
    for batch in (1, 3, 9):
        evaluate(lm, {"colours": Colours()}, tmp_path, Settings(batch))
        texts.append((tmp_path / "replies.jsonl").read_text())
    assert texts[0] == texts[1] == texts[2]


def test_greedy_replies_equal_stepwise_argmax(assembly: Assembly) -> None:
    """Generation with cache and left padding says what the training path's logits say, one token at a time."""
    lm = LM(assembly, small_config())
    picture = il.Media("image", assembly.adapters["image"].example())
    prompts = [il.Sample([il.Message("user", ["why ", picture])]), il.Sample([il.Message("user", ["hi"])])]
    chat = assembly.model.llm.tokenizer
    expected = []
    for prompt in prompts:
        batch, said = lm.batch([prompt], reply=True), []
        for _ in range(6):
            logits = assembly.model(batch)[0, -1]
            said.append(int(logits.argmax()))
            ids = torch.cat([batch.input_ids, torch.tensor([[said[-1]]])], 1)
            n = ids.shape[1]
            batch = il.Batch(
                ids,
                ids,
                torch.arange(n)[None],
                torch.ones(1, n).long(),
                Segments.of([[n]]),
                batch.targets,
                n,
                batch.visual_positions,
                batch.pixel_values,
                batch.visuals,
            )
        stop = next((i for i, t in enumerate(said) if t in chat.stop_ids), len(said))
        expected.append(chat.decode(said[:stop]))
    assert generate(assembly.model, lm.batch(prompts, reply=True), max_new_tokens=6) == expected


def test_right_align() -> None:
    moved, mask = right_align(torch.arange(8.0).view(2, 4, 1), torch.tensor([4, 2]))
    assert moved[..., 0].tolist() == [[0, 1, 2, 3], [4, 4, 4, 5]]
    assert mask.tolist() == [[1, 1, 1, 1], [0, 0, 1, 1]]


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("B", "B"), ("b", "B"), ("(B)", "B"), ("B. a dog", "B"), ("B) a dog", "B"), ("B: yes", "B"), ("B\n", "B"),
        ("The answer is B.", "B"), ("A dog", ""), ("a dog runs", ""), ("", ""), ("Because", ""), ("I think C", "C"),
    ],
)  # fmt: skip
def test_letters_of_replies(reply: str, letter: str) -> None:
    assert chosen_letter(reply) == letter


def records_file(folder: Path, **record: Any) -> Path:
    Image.new("RGB", (8, 8)).save(folder / "a.png")
    path = folder / "questions.json"
    path.write_text(json.dumps([record]))
    return path


def test_multiple_choice_asks_with_letters(tmp_path: Path) -> None:
    path = records_file(tmp_path, question="Which?", choices=["red", "blue", "grey"], answer=2, image="a.png")
    task = il.tasks.build({"name": "multiple_choice", "path": str(path), "media": str(tmp_path)})
    (record,) = task.records()
    media, text = task.sample(record).messages[0].content
    assert isinstance(media, il.Media)
    assert text == (
        "\nWhich?\nA. red\nB. blue\nC. grey\nAnswer with the option's letter from the given choices directly."
    )
    assert (task.answer(record), task.chance(record)) == ("C", pytest.approx(1 / 3))
    assert task.score(record, "(C)") == {"accuracy": 1.0}
    bad = records_file(tmp_path, question="Which?", choices=["red"], answer="D", image="a.png")
    task = il.tasks.build({"name": "multiple_choice", "path": str(bad), "media": str(tmp_path)})
    with pytest.raises(il.BadSample, match="answer 'D' is none of the 1 choices"):
        task.sample(task.records()[0])


def test_open_answers_share_words_with_the_truth(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "What?"}, {"from": "gpt", "value": "A red square."}]
    path = records_file(tmp_path, conversations=turns)
    task = il.tasks.build({"name": "open_answer", "path": str(path), "media": str(tmp_path)})
    (record,) = task.records()
    assert task.score(record, "the Red square") == {"f1": 1.0, "exact_match": 1.0}
    assert task.score(record, "a red circle") == {"f1": pytest.approx(0.5), "exact_match": 0.0}


@pytest.fixture
def run(assembly: Assembly, tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    save_config(folder, small_config())
    save_weights(folder, assembly.model, assembly.model.state_dict())
    Image.new("RGB", (30, 20), "red").save(tmp_path / "a.png")
    return folder


def test_chat_answers_one_question(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = str(tmp_path / "a.png")
    chat_command([str(run), picture, f"multipatch:{picture}", "In <image> and <image>?", "--max-new-tokens", "2"])
    said = capsys.readouterr().out
    expected = il.load(run).chat(
        [il.Message("user", ["In ", il.Media("image", picture), " and ", il.Media("multipatch", picture), "?"])],
        max_new_tokens=2,
    )
    assert said.strip() == expected.strip()


def test_chat_converses(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    lines = iter([f"What is {tmp_path / 'a.png'}?", f"and {tmp_path / 'a.png'} here", "more", ""])
    monkeypatch.setattr("rich.console.Console.input", lambda *_: next(lines))
    sessions: list[Session] = []
    session = LM.session
    monkeypatch.setattr(LM, "session", lambda self: sessions.append(session(self)) or sessions[-1])
    chat_command([str(run), "--max-new-tokens", "2", "--seed", "1", "--temperature", "0.5", "--stop", "never"])
    (held,) = sessions
    assert [turn.role for turn in held.messages] == ["user", "assistant"] * 3
    assert [type(p).__name__ for p in held.messages[2].content] == ["str", "Media", "str"]
    kinds = [part.kind for turn in held.messages for part in turn.content if isinstance(part, il.Media)]
    assert kinds == ["multipatch", "image"], "the only picture, then one of two"
    said = capsys.readouterr().out
    assert all(str(turn.content[0]).strip() in said for turn in held.messages[1::2])


def test_what_goes_wrong_in_a_chat_leaves_it_usable(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    """A broken picture of the command line, a placeholder typed, a mistyped path, Ctrl-C at the prompt."""
    (tmp_path / "broken.png").write_bytes(b"no picture")
    typed: list[str | BaseException] = ["first", "what is <image>?", f"and {tmp_path / 'nowhere.png'}?"]
    typed += [KeyboardInterrupt(), "second", "third", "/undo", "/no", "/help", "/clear", "/undo", "fourth", "/exit"]
    typed += ["never read"]
    lines = iter(typed)

    def read(*_: object) -> str:
        line = next(lines)
        if isinstance(line, BaseException):
            raise line
        return line

    monkeypatch.setattr("rich.console.Console.input", read)
    sessions: list[Session] = []
    session = LM.session
    monkeypatch.setattr(LM, "session", lambda self: sessions.append(session(self)) or sessions[-1])
    chat_command([str(run), str(tmp_path / "broken.png"), "--max-new-tokens", "1"])
    assert [str(turn.content[0]) for turn in sessions[0].messages[::2]] == ["fourth"]
    said = " ".join(capsys.readouterr().out.split())
    for part in ("broken.png is not an image", "from now on", "1 <image> placeholders for 0 pieces",
                 "nowhere.png does not exist", "Took back the last question", "there is no command /no",
                 "A new conversation", "Nothing was asked yet"):  # fmt: skip
        assert part in said
    assert list(lines) == ["never read"], "/exit ended it"


@pytest.mark.parametrize("kind", ["image", "multipatch"])
def test_chat_shows_a_single_picture_as_training_did(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the data set's option into the run's config, and from there into the prompt."""
    path = records_file(tmp_path, image="a.png", conversations=[
        {"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "grey"}])  # fmt: skip
    files = [f"dataset.llava_json.path={path}", f"dataset.llava_json.media={tmp_path}"]
    arguments = [*TINY, "dataset=llava_json", *files, f"dataset.llava_json.single={kind}", f"run={tmp_path / 'run'}"]
    assert main(["train", *arguments]) == 0
    lm = il.load(tmp_path / "run")
    assert lm.single_picture == kind
    capsys.readouterr()
    chat_command([str(tmp_path / "run"), str(tmp_path / "a.png"), "Why?", "--max-new-tokens", "3"])
    asked = [il.Message("user", [il.Media(kind, tmp_path / "a.png"), "Why?"])]
    assert capsys.readouterr().out.strip() == lm.chat(asked, max_new_tokens=3).strip()
    both = [il.Media(PICTURE, "a.png"), il.Media(PICTURE, "b.png")]
    assert [piece.kind for piece in with_modalities(both, lm)] == ["image", "image"]
    assert [piece.kind for piece in with_modalities(both[:1], lm)] == [kind]
    assert [piece.kind for piece in with_modalities([both[0], il.Media("video", "v.mp4")], lm)] == [kind, "video"]


def test_published_checkpoints_say_how_they_saw_a_single_picture(tmp_path: Path) -> None:
    ratios = {"a": ("anyres", "multipatch"), "b": ("pad", "image"), "c": ("anyres_max_9", "multipatch")}
    for name, (ratio, kind) in ratios.items():
        original(tmp_path / name, image_aspect_ratio=ratio, image_grid_pinpoints=PINPOINTS)
        assert il.load(tmp_path / name).single_picture == kind
    onevision(tmp_path / "d")
    assert il.load(tmp_path / "d").single_picture == "multipatch"
    llava(tmp_path / "e")
    assert il.load(tmp_path / "e").single_picture == "image"
    convert(tmp_path / "a", tmp_path / "f", "native")
    assert il.load(tmp_path / "f").single_picture == "multipatch"


def test_chat_errors(run: Path) -> None:
    for arguments, message in (
        (["nowhere.png", "hi"], "nowhere.png does not exist"),
        (["one", "two"], "'one' is neither a picture nor a video"),
        (["<image> and <image>"], "2 <image> placeholders for 0 pieces of media"),
    ):
        with pytest.raises(il.InputError, match=message):
            chat_command([str(run), *arguments])


def test_media_without_placeholders_stand_in_front() -> None:
    media = il.Media("image", "a.png")
    assert list(user_message("Why?", [media]).content) == [media, "Why?"]
