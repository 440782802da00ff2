"""``interleave score`` writes what the released scorer writes, and says how sure it is."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rouge as pypi_rouge
from hypothesis import given, settings
from hypothesis import strategies as st

from interleave.cli import main
from interleave.scoring.dataset_scores import score_items
from interleave.scoring.interleave_bench import BENCH
from interleave.scoring.metrics import published_normalise
from interleave.scoring.result_file import ResultFile, ScoredItem
from interleave.scoring.score_files import write_scores

FILES = ("eval_cat.json", "eval_dataset.json", "eval_dataset_details.json")


def line(dataset: str, number: Any, reply: str, answer: str, kind: str = "multi-choice") -> dict[str, Any]:
    return {
        "dataset": dataset, "sample_id": number, "prompt": "q", "pred_response": reply, "gt_response": answer,
        "shortuuid": "x", "model_id": "m", "question_type": kind,
    }  # fmt: skip


def save(path: Path, lines: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(one) + "\n" for one in lines))
    return path


def scored(lines: list[dict[str, Any]], tmp_path: Path) -> dict[str, Any]:
    path = save(tmp_path / "result.jsonl", lines)
    assert main(["score", str(path), "--out", str(tmp_path / "out")]) == 0
    return {name: json.loads((tmp_path / "out" / name).read_text()) for name in (*FILES, "clean.json")}


def near(ours: Any, theirs: Any) -> None:
    if isinstance(theirs, Mapping):
        assert list(ours) == list(theirs)
        for key in theirs:
            near(ours[key], theirs[key])
    elif isinstance(theirs, float):
        assert abs(ours - theirs) <= 1e-9
    else:
        assert ours == theirs


def test_the_golden_files(shared: Path, tmp_path: Path) -> None:
    golden = shared / "golden" / "scorer"
    assert main(["score", str(golden / "result.jsonl"), "--out", str(tmp_path)]) == 0
    for name in FILES:
        near(json.loads((tmp_path / name).read_text()), json.loads((golden / name).read_text()))


def test_all_categories_in_the_scorers_order_and_spelling(tmp_path: Path) -> None:
    lines = [line(d, 0, "A", "A") for task in reversed(BENCH.values()) for d in task.datasets]
    assert list(scored(lines, tmp_path)["eval_cat.json"]) == [
        "spot_the_diff", "image_edit_instruct", "visual_story_telling", "visual_cloze", "text_rich_vqa",
        "multi_image_vqa", "puzzle", "nlrv2", "qbench",
    ]  # fmt: skip


def test_a_category_is_the_unweighted_mean_of_its_datasets(tmp_path: Path) -> None:
    lines = [line("COMICS_Dialogue", i, "A", "A") for i in range(9)] + [line("RecipeQA_VisualCloze", 0, "A", "B")]
    found = scored(lines, tmp_path)
    assert found["eval_cat.json"] == {"visual_cloze": 0.5}
    assert found["eval_dataset.json"]["COMICS_Dialogue"] == {"Accuracy": 1.0}
    assert found["clean.json"]["tasks"]["visual_cloze"]["metrics"]["accuracy"]["mean"] == 0.5


def test_a_category_with_absent_datasets_is_left_out_and_named(tmp_path: Path) -> None:
    found = scored([line("TQA", 0, "A", "A")], tmp_path)
    assert found["eval_cat.json"] == {}
    assert found["clean.json"]["tasks"]["text_rich_vqa"]["missing"] == ["WebQA", "OCR-VQA", "DocVQA"]


def test_a_dataset_that_nobody_knows_is_scored(tmp_path: Path) -> None:
    found = scored([line("Mine", "x7", "a dog", "A dog.", "open-ended")], tmp_path)
    assert found["eval_dataset.json"] == {"Mine": {"Rouge-L f": pytest.approx(1)}}
    assert found["eval_dataset_details.json"] == {"Mine": [{"id": "x7", "score": "1.0"}]}
    assert found["eval_cat.json"] == {}


def test_the_first_line_of_a_dataset_decides_its_metric(tmp_path: Path) -> None:
    lines = [line("TQA", 0, "A", "A"), line("RAVEN", 1, "a dog", "the dog", "open-ended"),
             line("TQA", 2, "a dog", "the dog", "open-ended"), line("RAVEN", 3, "B", "B")]  # fmt: skip
    found = scored(lines, tmp_path)
    assert found["eval_dataset.json"]["TQA"] == {"Accuracy": 0.5}
    assert found["eval_dataset.json"]["RAVEN"] == {"Rouge-L f": pytest.approx(0.75, abs=1e-7)}
    assert found["eval_dataset_details.json"]["TQA"] == [{"id": "0", "score": "1"}, {"id": "2", "score": "0"}]


def test_quirks_of_the_details(tmp_path: Path) -> None:
    asked = [("", "a dog"), ("?!", "a dog"), ("a dog", ""), ("a dog", "?"), ("cat", "a dog"), ("a", "a dog here")]
    lines = [line("IEdit", i, *pair, "open-ended") for i, pair in enumerate(asked)]
    found = scored(lines, tmp_path)
    assert found["eval_dataset_details.json"]["IEdit"] == [
        {"id": "0", "score": "0"}, {"id": "1", "score": "0"}, {"id": "4", "score": "0.0"}, {"id": "5", "score": "0.5"},
    ]  # fmt: skip
    assert found["eval_dataset.json"]["IEdit"]["Rouge-L f"] == pytest.approx(0.5 / 4, abs=1e-7)


def test_a_dataset_of_empty_truths_has_no_mean(tmp_path: Path) -> None:
    found = scored([line("IEdit", 0, "a", "", "open-ended")], tmp_path)
    assert math.isnan(found["eval_dataset.json"]["IEdit"]["Rouge-L f"])
    assert found["eval_dataset_details.json"] == {"IEdit": []}


WORD = st.sampled_from(
    ["a", "B", "dog", "Dog.", "1,000", "3.5", "..", "(b)", "no;", "'x'", '"y"', "東京", "a:", "?", "."]
)
TEXT = st.one_of(
    st.lists(WORD, max_size=40).map(" ".join), st.lists(WORD, max_size=9).map("".join), st.text(max_size=30)
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=4))
def test_open_answers_are_scored_as_the_package_rouge_does(tmp_path_factory: Any, pairs: list[tuple[str, str]]) -> None:
    """The scorer of the benchmark, written down once more around the package."""
    expected = []
    for number, (reply, answer) in enumerate(pairs):
        said, truth = published_normalise(reply), published_normalise(answer)
        if not truth:
            continue
        words = said[:512].strip(".") and truth.strip(".")  # where there are none the package raises
        score = pypi_rouge.Rouge().get_scores(said[:512], truth)[0]["rouge-l"]["f"] if words else 0.0 if said else 0
        expected.append({"id": str(number), "score": str(round(score, 3))})
    items = [ScoredItem("d", str(i), reply, answer, "open-ended", {}) for i, (reply, answer) in enumerate(pairs)]
    out = tmp_path_factory.mktemp("scores")
    write_scores(ResultFile(out, {"d": items}, 0), {"d": score_items(items, "open-ended")}, out)
    assert json.loads((out / "eval_dataset_details.json").read_text()) == {"d": expected}


def test_clean_metrics_see_through_the_form_of_a_reply(tmp_path: Path) -> None:
    replies = ["The answer is A.", "A. the red one", "(a)", "B"]
    found = scored([line("RAVEN", i, reply, "A") for i, reply in enumerate(replies)], tmp_path)
    assert found["eval_dataset.json"]["RAVEN"] == {"Accuracy": 0.25}
    clean = found["clean.json"]["datasets"]["RAVEN"]
    assert clean["accuracy"]["mean"] == 0.75
    assert clean["accuracy"]["low"] < 0.75 <= clean["accuracy"]["high"]
    assert clean["published"]["mean"] == 0.25


def test_the_table_has_the_papers_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line("RAVEN", 0, "The answer is A", "A"), line("TQA", 0, "A", "A")]
    path = save(tmp_path / "r.jsonl", lines)
    assert main(["score", str(path), "--out", str(tmp_path), "--version", "clean"]) == 0
    rows = [row for row in capsys.readouterr().out.splitlines() if "│" in row]
    assert [row.split()[1] for row in rows] == ["TRVQA", "Puzzle"]
    assert "100.0" in rows[1]
    assert "1 of 4" in rows[0]


def test_two_runs_are_compared_item_by_item(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generator = np.random.default_rng(0)
    right = [("A" if x < 0.4 else "B", "A" if x < 0.4 or y < 0.4 else "B") for x, y in generator.random((120, 2))]
    a = [line("RAVEN", i, pair[0], "A") for i, pair in enumerate(right)]
    b = [line("TQA", 0, "A", "A"), *(line("RAVEN", i, pair[1], "A") for i, pair in reversed([*enumerate(right)]))]
    first, second = save(tmp_path / "a.jsonl", a), save(tmp_path / "b.jsonl", b)
    assert main(["score", str(first), "--out", str(tmp_path), "--against", str(second)]) == 0
    said = capsys.readouterr().out
    assert f"RAVEN: {second} is better than {first} by " in said
    assert "McNemar" in said
    assert "1 items are in one of the files only" in said
    assert main(["score", str(first), "--out", str(tmp_path), "--against", str(first)]) == 0
    assert "no difference can be claimed with 120 items" in capsys.readouterr().out
    third = save(tmp_path / "c.jsonl", [line("BLINK", 0, "A", "A")])
    assert main(["score", str(first), "--out", str(tmp_path), "--against", str(third)]) == 2
    assert "no item in common" in capsys.readouterr().err


def test_tasks_are_compared_over_their_data_sets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each data set counts alike: one gained by all of its few items, the other stayed as it was."""
    same = [line("COMICS_Dialogue", i, "A", "A") for i in range(90)]
    first = save(tmp_path / "a.jsonl", [*same, *(line("RecipeQA_VisualCloze", i, "B", "A") for i in range(10))])
    second = save(tmp_path / "b.jsonl", [*same, *(line("RecipeQA_VisualCloze", i, "A", "A") for i in range(10))])
    assert main(["score", str(first), "--out", str(tmp_path), "--against", str(second)]) == 0
    said = capsys.readouterr().out
    assert "COMICS_Dialogue: no difference can be claimed with 90 items: both score the same" in said
    assert f"VC, 2 data sets: {second} is better than {first} by 50.0 points" in said
    assert f"all items: {second} is better than {first} by 10.0 points" in said


def test_items_of_one_sample_are_paired_in_their_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = [line("nuscenes", 7, reply, "A") for reply in "AB"]
    b = [line("nuscenes", 7, reply, "A") for reply in "BA"]
    first, second = save(tmp_path / "a.jsonl", a), save(tmp_path / "b.jsonl", b)
    assert main(["score", str(first), "--out", str(tmp_path), "--against", str(second)]) == 0
    assert "with 2 items" in capsys.readouterr().out


def test_our_replies_are_read(tmp_path: Path) -> None:
    def reply(
        group: str, number: str, said: str | None, answer: str, scores: dict[str, float] | None
    ) -> dict[str, Any]:
        return {"task": "bench", "group": group, "id": number, "condition": "as it is", "reply": said,
                "answer": answer, "scores": scores}  # fmt: skip

    lines = [
        reply("puzzle/RAVEN", "RAVEN/0", "A: red", "A", {"score": 1.0, "clean": 1.0}),
        reply("spot_the_diff/IEdit", "IEdit/0", "a dog", "a dog", {"score": 1.0}),
        reply("all", "5", "yes", "no", {"accuracy": 0.25}),
        reply("puzzle/RAVEN", "RAVEN/1", None, "A", None),
    ]
    found = scored(lines, tmp_path)
    assert found["eval_dataset.json"] == {"RAVEN": {"Accuracy": 1.0}, "IEdit": {"Rouge-L f": pytest.approx(1)}}
    assert found["eval_dataset_details.json"]["RAVEN"] == [{"id": "0", "score": "1"}]
    assert found["clean.json"]["datasets"]["bench"]["accuracy"]["mean"] == 0.25


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no answered item"),
        ("[1]", "line 1 holds a list"),
        (json.dumps(line("RAVEN", 0, "A", "A")) + "\n{", "line 2 is not JSON"),
        (json.dumps({"dataset": "RAVEN", "sample_id": 0}), "line 1 lacks pred_response, gt_response, question_type"),
        (
            json.dumps(line("RAVEN", 0, "A", "A", "essay")),
            "question_type 'essay' of RAVEN is none of open-ended, multi",
        ),
        (
            json.dumps({**line("RAVEN", 0, "A", "A"), "pred_response": None}),
            "line 1: pred_response is None; it must be",
        ),
        ("\xff", "is not UTF-8"),
    ],
)
def test_bad_files_get_one_line(text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "result.jsonl"
    path.write_bytes(text.encode("latin-1"))
    assert main(["score", str(path), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", str(tmp_path / "no.jsonl"), "--out", str(tmp_path)]) == 2
    assert "does not exist" in capsys.readouterr().err
