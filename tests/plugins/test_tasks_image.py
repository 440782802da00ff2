"""Benchmarks on single images: what they ask, how they score, and what they say of files that are not in their form."""

import json
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import task_files
from interleave_plugins.task.mmmu import concludes
from small_models import small_config

import interleave as il
from interleave.evaluation.evaluate import evaluate
from interleave.evaluation.reply import describe_item, reply_to
from interleave.evaluation.results import summarise
from interleave.evaluation.runner import Settings
from interleave.inference.lm import LM
from interleave.media.images import load_image
from interleave.model.assembly import Assembly

TASKS = ("ai2d", "chartqa", "docvqa", "mme", "scienceqa_img", "pope", "textvqa", "mmmu")
LETTER = "Answer with the option's letter from the given choices directly."
PHRASE = "Answer the question using a single word or phrase."


def build(name: str, folder: Path, write: Callable[[Path], dict[str, Any]] | None = None, **changes: Any) -> Any:
    folder.mkdir(exist_ok=True)
    return il.tasks.build({"name": name, **(write or task_files.WRITERS[name])(folder), **changes})


def asked(task: Any, index: int = 0) -> tuple[list[il.Media], str]:
    (turn,) = task.sample(task.records()[index]).messages
    media = [part for part in turn.content if isinstance(part, il.Media)]
    return media, "".join(part for part in turn.content if isinstance(part, str))


def total(
    task: Any, reply: Callable[[Any], str], keep: Callable[[Any], bool] = lambda record: True
) -> dict[str, float]:
    records = [record for record in task.records() if keep(record)]
    said = [(record, reply(record)) for record in records]
    return dict(task.total([il.Scored(record, text, task.score(record, text)) for record, text in said]))


@pytest.mark.parametrize("name", TASKS)
def test_an_oracle_is_perfect_and_pictures_can_be_read(name: str, tmp_path: Path) -> None:
    task = build(name, tmp_path)
    metric, score = next(iter(total(task, task.answer).items()))
    assert score == pytest.approx(task.best.get(metric, 1))
    assert len({record["id"] for record in task.records()}) == len(task.records())
    for i in range(len(task.records())):
        media, _ = asked(task, i)
        assert all(load_image(piece.data).size == (12, 8) for piece in media)
        assert media


@pytest.mark.parametrize(("name", "reply"), [("ai2d", "A"), ("scienceqa_img", "(b)"), ("pope", "Yes."), ("mmmu", "B")])
def test_a_constant_reply_is_right_as_often_as_chance_says(name: str, reply: str, tmp_path: Path) -> None:
    task = build(name, tmp_path)
    guessed = [record for record in task.records() if task.chance(record) is not None]
    right = fmean(task.score(record, reply)["accuracy"] for record in guessed)
    assert right == pytest.approx(fmean(task.chance(record) for record in guessed))


@pytest.mark.parametrize(
    ("name", "prompt"),
    [
        ("ai2d", f"\nwhich?\nA. sun\nB. moon\nC. earth\nD. mars\n{LETTER}"),
        ("chartqa", f"\nHow much?\n{PHRASE}"),
        ("docvqa", f"\nWhat is the amount?\n{PHRASE}"),
        ("mme", f"\nIs there a dog?\n{PHRASE}"),
        ("scienceqa_img", f"\nWhich?\nA. north\nB. south\n{LETTER}"),
        ("pope", f"\nIs there a adversarial 0?\n{PHRASE}"),
        ("textvqa", f"\nWhat is the brand?\n{PHRASE}"),
        ("mmmu", f"\n<image 1> What follows, 0?\nA. 1\nB. see <image 2>\n\n{LETTER}"),
    ],
)
def test_prompts_are_those_of_the_llava_setting(name: str, prompt: str, tmp_path: Path) -> None:
    assert asked(build(name, tmp_path))[1] == prompt


def test_scienceqa_puts_the_hint_first_and_reads_the_authors_file(tmp_path: Path) -> None:
    assert asked(build("scienceqa_img", tmp_path / "a"), 1)[1].startswith("\nContext: Look.\nWhich?")
    task = build("scienceqa_img", tmp_path / "b", task_files.scienceqa_problems)
    assert [record["key"] for record in task.records()] == ["11"], "of the split, and with a picture"
    assert asked(task)[0][0].data == tmp_path / "b/test/11/image.png"
    assert task.group(task.records()[0]) == "all/social science"
    with pytest.raises(il.InputError, match="has no question of the split 'val' with a picture"):
        build("scienceqa_img", tmp_path / "c", task_files.scienceqa_problems, split="val")


def test_mme_sums_accuracy_and_pairs_over_fourteen_kinds(tmp_path: Path) -> None:
    folders = build("mme", tmp_path / "a")
    for task in (folders, build("mme", tmp_path / "b", task_files.mme_table)):
        assert total(task, task.answer) == {
            "score": 2800, "perception": 2000, "cognition": 800, "accuracy": 1, "accuracy_plus": 1,
        }  # fmt: skip
        assert total(task, lambda record: "yes")["score"] == 700
        assert total(task, lambda record: "perhaps")["score"] == 0
        count = total(task, lambda record: "no", lambda record: record["category"] == "count")
        assert (count["score"], count["perception"], count["cognition"]) == (50, 50, 0)
    records = folders.records()
    assert len({folders.unit(record) for record in records}) == len(records) / 2, "questions of a picture go together"
    alone = total(folders, folders.answer, lambda record: "dog" in record["question"])
    assert (alone["accuracy"], alone["accuracy_plus"]) == (1, 0), "half a pair is no pair"


def test_pope_counts_the_replies_that_say_yes(tmp_path: Path) -> None:
    task = build("pope", tmp_path)
    assert {task.group(record) for record in task.records()} == {"all/random", "all/popular", "all/adversarial"}
    yes = total(task, lambda record: "Yes, there is.")
    assert yes == {
        "f1": pytest.approx(2 / 3), "accuracy": 0.5, "precision": 0.5, "recall": 1.0, "yes_share": 1.0,
    }  # fmt: skip
    assert total(task, lambda record: "I cannot tell") == dict.fromkeys(yes, 0.0)
    assert total(task, task.answer)["yes_share"] == 0.5


def test_chartqa_is_relaxed_about_numbers_alone(tmp_path: Path) -> None:
    task = build("chartqa", tmp_path)
    word, number = sorted(task.records(), key=lambda record: str(record["answer"]), reverse=True)
    assert [task.score(number, said)["relaxed_accuracy"] for said in ("14.6", "15")] == [1, 0]
    assert [task.score(word, said)["relaxed_accuracy"] for said in ("blue", "bleu")] == [1, 0]
    assert (task.group(number), task.group(word)) == ("all/human", "all/augmented")


def test_docvqa_takes_the_nearest_of_the_answers(tmp_path: Path) -> None:
    task = build("docvqa", tmp_path)
    (record,) = task.records()
    assert task.score(record, "0.28")["anls"] == 1
    assert task.score(record, "$0.38")["anls"] == pytest.approx(0.8)
    assert task.score(record, "nothing")["anls"] == 0


def test_textvqa_agrees_with_people_and_finds_the_authors_pictures(tmp_path: Path) -> None:
    task = build("textvqa", tmp_path)
    (record,) = task.records()
    assert task.answer(record) == "Dakota"
    assert task.score(record, "clos")["accuracy"] == pytest.approx(0.3)
    row = {"image_id": "003a", "question_id": 1, "question": "what?", "answers": ["a"] * 10}
    path = task_files.listed(tmp_path / "TextVQA_0.5.1_val.json", {"data": [row]})
    (media,), _ = asked(il.tasks.build({"name": "textvqa", "path": path, "media": str(tmp_path)}))
    assert media.data == tmp_path / "003a.jpg"


def test_mmmu_shows_pictures_in_front_or_where_the_text_names_them(tmp_path: Path) -> None:
    task = build("mmmu", tmp_path / "a")
    assert [piece.kind for piece in asked(task)[0]] == ["image", "image"]
    assert [piece.kind for piece in asked(task, 2)[0]] == ["multipatch"]
    apart = build("mmmu", tmp_path / "b", interleaved=True)
    (turn,) = apart.sample(apart.records()[0]).messages
    assert [type(part).__name__ for part in turn.content] == ["Media", "str", "Media", "str"]
    assert turn.content[1] == " What follows, 0?\nA. 1\nB. see "
    groups = ["all/Business", "all/Science", "all/Tech and Engineering"]
    assert [task.group(record) for record in task.records()] == groups
    assert task.chance(task.records()[2]) is None


@pytest.mark.parametrize(
    ("reply", "truths", "right"),
    [
        ("1024.5", ["1,024.5"], True),
        ("The answer is 1,024.501 kg.", ["1,024.5"], True),
        ("It grows from 3 to 5, so it is 8", ["3"], False),
        ("x = 0.5", [".5"], True),
        ("a red Fox", ["fox"], True),
        ("foxes", ["fox"], False),
        ("", ["fox"], False),
    ],
)
def test_a_free_answer_is_what_the_reply_concludes(reply: str, truths: list[str], right: bool) -> None:
    assert concludes(reply, truths) is right


BROKEN: list[tuple[str, dict[str, Any], str]] = [
    ("ai2d", {"answer": "7"}, "answer '7' is none of the 4 options"),
    ("ai2d", {"options": None}, "options is 'None'; it must be a list of texts"),
    ("ai2d", {"question": "  "}, "question is '  '; it must be text"),
    ("ai2d", {"image": None}, "image is 'None'; it must be text"),
    ("ai2d", {"image": "../a.png"}, "../a.png leads out of the media folder"),
    ("docvqa", {"answers": None}, "answers is 'None'; it must be a list of texts"),
    ("pope", {"answer": "maybe"}, "answer 'maybe' is neither yes nor no"),
    ("mmmu", {"options": "one, two"}, "options is 'one, two'; it must be a list of texts"),
]
ROWS: dict[str, dict[str, Any]] = {
    "ai2d": {"question": "which?", "options": ["a", "b", "c", "d"], "answer": "1", "image": "a.png"},
    "docvqa": {"questionId": 1, "question": "what?", "answers": ["a"], "image": "a.png"},
    "pope": {"question_id": 1, "question": "is it?", "answer": "yes", "image": "a.png", "category": "random"},
    "mmmu": {"id": "validation_Art_1", "question": "what?", "options": "['a', 'b']", "answer": "A",
             "question_type": "multiple-choice", "image_1": "a.png"},
}  # fmt: skip


@pytest.mark.parametrize(("name", "change", "message"), BROKEN)
def test_a_row_that_cannot_be_asked_is_one_bad_sample(
    name: str, change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = task_files.listed(tmp_path / "rows.json", [ROWS[name], {**ROWS[name], **change}])
    task = il.tasks.build({"name": name, "path": path, "media": str(tmp_path)})
    good, bad = task.records()
    task.sample(good)
    with pytest.raises(il.BadSample) as raised:
        task.sample(bad)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", TASKS)
def test_files_in_another_form_are_named_with_the_known_one(name: str, tmp_path: Path) -> None:
    path = task_files.listed(tmp_path / "rows.json", [{"question": "which?", "text": "which?"}])
    with pytest.raises(il.InputError, match=r"rows\.json has no column '\w+'; the known form is .+ as in .+"):
        il.tasks.build({"name": name, "path": path, "media": str(tmp_path)})


def test_files_that_are_none_are_said_in_one_line(tmp_path: Path) -> None:
    def read(path: str) -> None:
        il.tasks.build({"name": "ai2d", "path": path, "media": str(tmp_path)})

    with pytest.raises(il.InputError, match=r"rows\.json does not exist"):
        read(str(tmp_path / "rows.json"))
    with pytest.raises(il.InputError, match="holds no rows"):
        read(task_files.listed(tmp_path / "empty.json", []))
    (tmp_path / "torn.json").write_text('{"question": "a"}\n{"question": ')
    with pytest.raises(il.InputError, match=r"torn\.json is not JSON at line 2"):
        read(str(tmp_path / "torn.json"))
    (tmp_path / "latin.csv").write_bytes(b"question\n\xe9\n")
    with pytest.raises(il.InputError, match=r"latin\.csv is no table"):
        read(str(tmp_path / "latin.csv"))
    with pytest.raises(il.InputError, match="nowhere is no folder"):
        il.tasks.build({"name": "ai2d", "path": ".", "media": str(tmp_path / "nowhere")})


def test_pictures_stay_in_the_table_and_a_copy_of_the_hub_has_its_splits(tmp_path: Path) -> None:
    task = build("ai2d", tmp_path)
    assert "image" not in task.records()[0]
    shades = [load_image(asked(task, i)[0][0].data).getpixel((0, 0)) for i in range(4)]
    assert shades == [(i, 40, 40) for i in range(4)], "each row has its own"
    assert json.dumps(list(task.records())), "rows are plain values"
    card = "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: test\n    path: rows/test-*\n"
    (tmp_path / "README.md").write_text(f"{card}  - split: dev\n    path: other/dev-*\n---\n")
    (tmp_path / "other").mkdir()
    held = (tmp_path / "rows/test-00000-of-00001.parquet").read_bytes()
    (tmp_path / "other/dev-0.parquet").write_bytes(held)
    copied = il.tasks.build({"name": "ai2d", "path": str(tmp_path), "media": str(tmp_path)})
    assert len(copied.records()) == len(task.records())
    (tmp_path / "README.md").unlink()
    bare = {"name": "ai2d", "path": str(tmp_path)}
    assert len(il.tasks.build(bare).records()) == len(task.records()), "of two splits the one that is asked"
    (tmp_path / "rows").rename(tmp_path / "Images")
    (tmp_path / "Images/test-00000-of-00001.parquet").rename(tmp_path / "Images/all.parquet")
    assert len(il.tasks.build({**bare, "subset": "Images"}).records()) == len(task.records())


def test_the_number_of_items_is_known_of_the_default_split(tmp_path: Path) -> None:
    assert build("pope", tmp_path / "a").expected == 9000
    assert build("pope", tmp_path / "b", split="dev").expected is None


@pytest.mark.parametrize("name", ["mme", "mmmu", "textvqa"])
def test_a_model_is_asked_all_items_and_the_audit_says_what_is_missing(
    name: str, assembly: Assembly, tmp_path: Path
) -> None:
    task = build(name, tmp_path / "files")
    settings = Settings(batch=8, generation={"max_new_tokens": 2})
    results = evaluate(LM(assembly, small_config()), {name: task}, tmp_path / "out", settings)
    row = results[name]["as it is"]["all"]
    audited = json.loads((tmp_path / "out/results.json").read_text())["audit"][name]["all"]
    assert row.num_items == audited["run"] == len(task.records())
    assert audited["visuals_fed"] == audited["visuals_expected"] >= len(task.records())
    assert audited["says"].startswith(f"{len(task.records())} items found, {task.expected} expected")
    assert not audited["complete"]


def test_the_interval_of_mme_draws_pictures_not_questions(tmp_path: Path) -> None:
    task = build("mme", tmp_path)
    replies = [
        reply_to(describe_item("mme", task, record, i), task.answer(record), {"accuracy": 1.0})
        for i, record in enumerate(task.records())
    ]
    row = summarise(replies, {"mme": task})["mme"]["as it is"]["all"]
    assert (row.score, row.interval) == (2800, (2800, 2800)), "all right is all right, whatever is drawn"
