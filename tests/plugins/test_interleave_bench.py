"""LLaVA-Interleave Bench as tasks: an oracle gets everything, a constant what chance says, nothing is lost unsaid."""

import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import bench_files
import pytest

import interleave as il
from interleave.cli import main
from interleave.scoring.interleave_bench import BENCH, TASK_OF, released_rows

ALL = ("interleave_bench", "interleave_bench_3d", *BENCH)
Answer = Callable[[il.Task, Mapping[str, Any]], str]


def build(folder: Path, name: str, **options: Any) -> il.Task:
    return il.tasks.build({"name": name, "root": str(folder), **options})


def asked(task: il.Task, answer: Answer) -> list[il.Scored]:
    scored = []
    for record in task.records():
        task.sample(record)
        said = answer(task, record)
        scored.append(il.Scored(record, said, task.score(record, said)))
    return scored


def pictures(sample: il.Sample) -> list[il.Media]:
    return [part for turn in sample.messages for part in turn.content if isinstance(part, il.Media)]


@pytest.mark.parametrize("name", ALL)
def test_an_oracle_scores_everything(name: str, tmp_path: Path) -> None:
    bench_files.write(tmp_path, 3)
    task = build(tmp_path, name)
    total = task.total(asked(task, lambda task, record: task.answer(record)))
    assert total == pytest.approx({"score": 1, "clean": 1}, abs=1e-7)


@pytest.mark.parametrize("name", ALL)
def test_a_constant_scores_what_chance_says(name: str, tmp_path: Path) -> None:
    bench_files.write(tmp_path, 4)  # a whole round of the answers A, B, C, D and Yes, No
    task = build(tmp_path, name)
    scored = asked(task, lambda task, record: "Yes" if {"Yes", "No"} & {task.answer(record)} else "A")
    for dataset in {item.record["metadata"]["dataset"] for item in scored}:
        part = [item for item in scored if item.record["metadata"]["dataset"] == dataset]
        chances = {chance for item in part if (chance := task.chance(item.record)) is not None}
        assert task.total(part)["score"] == (chances.pop() if chances else 0)
        assert not chances


def test_the_whole_is_its_13_tasks_and_each_counts_alike(tmp_path: Path) -> None:
    written = bench_files.write(tmp_path, 2)
    task = build(tmp_path, "interleave_bench")
    groups = Counter(task.group(record).split("/")[0] for record in task.records())
    assert set(groups) == {name for name, part in BENCH.items() if part.domain in ("in", "out")}
    assert len(groups) == 13
    assert groups["spot_the_diff"] == 6
    assert sum(groups.values()) == sum(
        n for d, n in written.questions.items() if BENCH[TASK_OF[d]].domain in ("in", "out")
    )
    only = asked(task, lambda task, record: task.answer(record) if task.group(record) == "puzzle/RAVEN" else "nothing")
    assert task.total(only)["score"] == pytest.approx(1 / 13)


def test_a_data_set_counts_once_whatever_its_size(tmp_path: Path) -> None:
    bench_files.write(tmp_path, 2)
    path = tmp_path / "multi_image_in_domain.json"
    records = json.loads(path.read_text())
    more = [{**r, "sample_id": f"{r['sample_id']}-{k}"} for r in records for k in range(9)
            if r["metadata"]["dataset"] == "COMICS_Dialogue"]  # fmt: skip
    path.write_text(json.dumps(records + more))
    task = build(tmp_path, "visual_cloze")
    scored = asked(task, lambda task, r: task.answer(r) if r["metadata"]["dataset"] == "COMICS_Dialogue" else "nothing")
    assert len(scored) == 22
    assert task.total(scored)["score"] == 0.5
    assert task.total([s for s in scored if s.scores["score"]])["score"] == 1


def test_a_dialogue_is_asked_turn_by_turn_after_true_replies(tmp_path: Path) -> None:
    written = bench_files.write(tmp_path, 2)
    task = build(tmp_path, "dialogue_3d")
    records = task.records()
    assert [r["id"] for r in records[:3]] == ["ScanNet_chat/0", "ScanNet_chat/0/1", "ScanNet_chat/0/2"]
    assert len({r["id"] for r in records}) == len(records) == written.questions["ScanNet_chat"] == 6
    last = task.sample(records[2])
    assert [turn.role for turn in last.messages] == ["user", "assistant", "user", "assistant", "user"]
    assert last.messages[1].content == [task.answer(records[0])]
    assert last.messages[3].content == [task.answer(records[1])]
    assert len(pictures(last)) == len(pictures(task.sample(records[0]))) == len(records[0]["image"])
    assert [r["id"] for r in build(tmp_path, "dialogue_3d", turns="first").records()] == [
        "ScanNet_chat/0",
        "ScanNet_chat/1",
    ]


def test_pictures_of_later_turns_come_with_them(tmp_path: Path) -> None:
    bench_files.write(tmp_path, 1)
    path = tmp_path / "multi_view_in_domain.json"
    records = json.loads(path.read_text())
    (record,) = (r for r in records if r["metadata"]["dataset"] == "ScanNet_chat")
    record["conversations"][2]["value"] = "And this <image>?"
    record["image"].append(record["image"][0])
    path.write_text(json.dumps(records))
    task = build(tmp_path, "dialogue_3d")
    shown = [len(pictures(task.sample(r))) for r in task.records()]
    assert shown == [len(record["image"]) - 1, len(record["image"]), len(record["image"])]


def test_every_picture_is_fed_whole_and_in_its_place(tmp_path: Path) -> None:
    written = bench_files.write(tmp_path, 2)
    count, most = 0, 0
    for name in BENCH:
        task = build(tmp_path, name)
        for record in task.records():
            media = pictures(task.sample(record))
            assert {m.kind for m in media} == {"image"}
            assert [m.data for m in media] == [tmp_path / path for path in record["image"]]
            count, most = count + len(media), max(most, len(media))
    assert count == written.pictures
    assert most == 20, "no sample is capped"


def test_prompts(tmp_path: Path) -> None:
    bench_files.write(tmp_path, 1)

    def text(**options: Any) -> str:
        task = build(tmp_path, "puzzle", **options)
        return "".join(
            "<>" if isinstance(p, il.Media) else p for p in task.sample(task.records()[0]).messages[0].content
        )

    assert text(prompt="plain").startswith("Question 0 of RAVEN?\nImage 1: <>,")
    assert text().startswith("Question 0 of RAVEN?\nImage 1: <>\n,")
    assert text(extra_prompt="Look. ").startswith("Look. Question 0")
    versions = {build(tmp_path, "puzzle", **o).version for o in ({}, {"prompt": "plain"}, {"extra_prompt": "Look. "})}
    assert len(versions) == 3, "numbers of other prompts are not compared"
    assert dict(build(tmp_path, "puzzle").generation) == {"max_new_tokens": 1024}


def test_what_cannot_be_read_is_the_items_that_were_broken(tmp_path: Path) -> None:
    written = bench_files.write(tmp_path, 2, broken=True)
    lost = set()
    for name in BENCH:
        for record in (task := build(tmp_path, name)).records():
            for media in pictures(task.sample(record)):
                try:
                    il.load_image(media.data)
                except il.BadSample:
                    lost.add(record["id"])
    assert lost == written.unreadable


def test_expected_counts_are_those_of_the_released_files(tmp_path: Path) -> None:
    bench_files.write(tmp_path, 1)
    assert released_rows(["mathverse_mv", "sciverse_mv", "mantis_eval", "blink"]) == 3356
    assert released_rows(["blink"]) is None
    task = build(tmp_path, "interleave_bench_3d")
    assert (len(task.records()), task.expected) == (8, 22377 + 3), "three further turns"
    assert build(tmp_path, "interleave_bench_3d", turns="first").expected == 22377
    assert build(tmp_path, "interleave_bench").expected is None


def test_options_are_counted_where_they_can_be(tmp_path: Path) -> None:
    bench_files.write(tmp_path, 2)
    task = build(tmp_path, "puzzle")
    first, second = task.records()
    assert (task.chance(first), task.chance(second)) == (0.25, None)
    second["conversations"][0]["value"] += "\nA. red\nB. blue\n(C) green"
    assert task.chance(second) == pytest.approx(1 / 3)
    spot = build(tmp_path, "spot_the_diff")
    assert spot.chance(spot.records()[0]) is None


def test_released_lines_score_as_the_task_does(tmp_path: Path) -> None:
    bench_files.write(tmp_path, 3)
    task = build(tmp_path, "interleave_bench")
    scored = asked(task, lambda task, record: "the red car left: a")
    lines = [
        {**(task.released(s.record) or {}), "pred_response": s.reply, "prompt": "", "model_id": ""} for s in scored
    ]
    assert len({line["shortuuid"] for line in lines}) == len(lines)
    (tmp_path / "r.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert main(["score", str(tmp_path / "r.jsonl"), "--out", str(tmp_path / "out")]) == 0
    categories = json.loads((tmp_path / "out" / "eval_cat.json").read_text())
    assert len(categories) == 8, "the dropped one is not in the benchmark"
    for name, score in categories.items():
        part = [s for s in scored if task.group(s.record).startswith("nlvr2" if name == "nlrv2" else name)]
        assert task.total(part)["score"] == pytest.approx(score, abs=1e-9)


def test_data_sets_of_no_task_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bench_files.write(tmp_path, 1)
    path = tmp_path / "MMMU_mv.json"
    records = json.loads(path.read_text())
    path.write_text(json.dumps([*records, {**records[0], "metadata": {"dataset": "MMMUU"}}]))
    with caplog.at_level(logging.WARNING):
        assert len(build(tmp_path, "mmmu_mv").records()) == 1
    assert "1 records of 'MMMUU' are left out" in caplog.text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"conversations": []}, "record 0 lacks sample_id or conversations"),
        ({"metadata": {"dataset": "MMMU", "question_type": "essay"}}, "question_type 'essay' is none of open-ended"),
        ({"metadata": {"dataset": "other"}}, "has no items of MMMU in MMMU_mv.json"),
    ],
)
def test_files_of_another_form(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    bench_files.write(tmp_path, 1)
    path = tmp_path / "MMMU_mv.json"
    path.write_text(json.dumps([{**json.loads(path.read_text())[0], **change}]))
    with pytest.raises(il.InputError, match=said):
        build(tmp_path, "mmmu_mv")


def test_items_without_a_truth_are_left_out_with_a_reason(tmp_path: Path) -> None:
    bench_files.write(tmp_path, 1)
    task = build(tmp_path, "mmmu_mv")
    (record,) = task.records()
    record["conversations"][1]["value"] = " ?"
    with pytest.raises(il.BadSample, match="truth is empty"):
        task.sample(record)
    del record["conversations"][1]
    with pytest.raises(il.BadSample, match="no true answer"):
        task.sample(record)
    assert (task.released(record) or {})["gt_response"] == "", "which the runner asks for before it looks at errors"


def test_later_turns_stand_after_the_models_own_replies_or_the_true_ones(tmp_path: Path) -> None:
    bench_files.write(tmp_path, 1)
    own, true = build(tmp_path, "dialogue_3d"), build(tmp_path, "dialogue_3d", history="true")
    records = own.records()
    assert [own.after(record) for record in records] == [None, 0, 1]
    assert [true.after(record) for record in true.records()] == [None, None, None]
    last = own.continued(records[2], ["first said", "<image> said"])
    spoken = [
        "".join(p for p in t.content if isinstance(p, str)) for t in own.sample(last).messages if t.role == "assistant"
    ]
    assert spoken == ["first said", "image said"]
    assert own.answer(last) == own.answer(records[2]), "the truth stays what it is"
    assert len(own.sample(own.continued(records[1], [""])).messages) == 3, "a model may have said nothing"
    assert own.version != true.version
