"""Benchmarks on videos: how videos are found, what is asked, how replies are scored, and what a judge is asked."""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import task_files
import videos
from interleave_plugins.task.base.judge_prompts import read_score, read_verdict
from small_models import small_config

import interleave as il
from interleave.evaluation.evaluate import evaluate
from interleave.evaluation.judging import grade
from interleave.evaluation.runner import Settings
from interleave.inference.lm import LM
from interleave.model.assembly import Assembly

CHOICES = ("nextqa_mc", "mvbench", "video_mme")
JUDGED = ("activitynet_qa", "vdd", "videochatgpt")


def build(name: str, folder: Path, **changes: Any) -> Any:
    folder.mkdir(exist_ok=True)
    return il.tasks.build({"name": name, **task_files.write(name, folder), **changes})


def asked(task: Any, index: int = 0) -> tuple[Path, str]:
    media, text = task.sample(task.records()[index]).messages[0].content
    assert media.kind == "video"
    return media.data, text


def total(task: Any, reply: Any) -> dict[str, float]:
    said = [(record, reply(record)) for record in task.records()]
    return dict(task.total([il.Scored(record, text, task.score(record, text)) for record, text in said]))


@pytest.mark.parametrize("name", [*CHOICES, "nextqa_oe"])
def test_an_oracle_is_perfect(name: str, tmp_path: Path) -> None:
    task = build(name, tmp_path)
    assert set(total(task, task.answer).values()) == {1.0}
    assert len({record["id"] for record in task.records()}) == len(task.records())


@pytest.mark.parametrize("name", CHOICES)
def test_a_constant_reply_is_right_as_often_as_chance_says(name: str, tmp_path: Path) -> None:
    task = build(name, tmp_path)
    assert total(task, lambda record: "A")["accuracy"] == pytest.approx(fmean(map(task.chance, task.records())))


@pytest.mark.parametrize(
    ("name", "prompt"),
    [
        ("nextqa_mc", "\nwhat is 0\nA. thing 0\nB. thing 1\nC. thing 2\nD. thing 3\nE. thing 4\n"
                      "Answer with the option's letter from the given choices directly."),
        ("nextqa_oe", "\nwhat is 0\nAnswer a question using a short phrase or sentence."),
        ("mvbench", "\nQuestion:what is 0?\nOption:\n(A) red\n(B) blue\nOnly give the best option.\n"),
        ("video_mme", "\nSelect the best answer to the following multiple-choice question based on the video. "
                      "Respond with only the letter (A, B, C, or D) of the correct option.\nHow many?\nA. One.\n"
                      "B. Two.\nC. Three.\nD. Four.\nThe best answer is:"),
        ("activitynet_qa", "\nis it 0? Answer the question using a single word or phrase."),
        ("vdd", "\nDescribe the video."),
        ("videochatgpt", "\nwhat is in v_a?"),
    ],
)  # fmt: skip
def test_prompts_are_those_of_the_llava_setting(name: str, prompt: str, tmp_path: Path) -> None:
    assert asked(build(name, tmp_path))[1] == prompt


def test_nextqa_has_three_groups_and_a_second_answer(tmp_path: Path) -> None:
    task = build("nextqa_oe", tmp_path)
    groups = [task.group(record) for record in task.records()]
    assert groups == ["all/causal", "all/causal", "all/temporal", "all/temporal", "all/descriptive"]
    assert task.score(task.records()[1], "the toy") == {"f1": 1.0, "exact_match": 1.0}
    assert task.score(task.records()[0], "the toy")["f1"] == 0


def test_mvbench_is_the_mean_of_its_kinds_however_many_items_each_has(tmp_path: Path) -> None:
    task = build("mvbench", tmp_path)
    assert len({task.group(record) for record in task.records()}) == 20
    kept = [r for r in task.records() if r["file"] != "state_change" or r["video"] == "clip0"]
    right = {"state_change": 0.0}
    scored = [il.Scored(r, "", {"accuracy": right.get(r["file"], 1.0)}) for r in kept]
    assert task.total(scored)["accuracy"] == pytest.approx(19 / 20)
    few = build("mvbench", tmp_path / "few", kinds=["state_change"])
    assert (len(few.records()), few.expected) == (2, 200)
    with pytest.raises(il.InputError, match=r"no kind 'state_chang' in MVBench; did you mean 'state_change'"):
        build("mvbench", tmp_path / "wrong", kinds=["state_chang"])


def test_video_mme_counts_by_length(tmp_path: Path) -> None:
    task = build("video_mme", tmp_path)
    assert [task.group(r) for r in task.records()] == ["all/short", "all/medium", "all/long", "all/short"]


def test_videos_are_found_as_files_of_any_suffix_and_at_any_depth(tmp_path: Path) -> None:
    task = build("nextqa_mc", tmp_path)
    media = tmp_path / "NExTVideo"
    assert asked(task)[0] == media / "1150" / "4010069381"
    other = videos.write_video(media / "4010069382.mp4", frames=3)
    assert asked(task, 1)[0] == other, "what lies at the top is found first"
    frames, _ = il.load_frames(asked(task, 1)[0], 2)
    assert len(frames) == 2
    upper = build("activitynet_qa", tmp_path / "b")
    folder = tmp_path / "b/all_test"
    (folder / "v_1QIUV7WYKXg").rename(folder / "v_1QIUV7WYKXg.MKV")
    assert asked(upper)[0].name == "v_1QIUV7WYKXg.MKV"


@pytest.mark.parametrize("name", [*CHOICES, *JUDGED])
def test_a_missing_video_is_one_bad_sample(name: str, tmp_path: Path) -> None:
    task = build(name, tmp_path)
    path, _ = asked(task)
    path.rename(path.with_name("elsewhere"))
    task = il.tasks.build({"name": name, "path": task.path, "media": task.media})
    with pytest.raises(il.BadSample, match=f"no video .*{path.name.removeprefix('v_')[:4]}.* in ") as raised:
        task.sample(task.records()[0])
    assert raised.value.reason == "missing file"


def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    rows = [{"video_name": "../v_a", "Q": "what?", "A": "this"}]
    task = il.tasks.build({"name": "vdd", "path": task_files.listed(tmp_path / "q.json", rows), "media": str(tmp_path)})
    with pytest.raises(il.BadSample, match="leads out of the media folder"):
        task.sample(task.records()[0])


@pytest.mark.parametrize("name", [*CHOICES, "nextqa_oe", *JUDGED])
def test_files_in_another_form_are_named_with_the_known_one(name: str, tmp_path: Path) -> None:
    path = task_files.listed(tmp_path / "state_change.json", [{"text": "which?"}])
    with pytest.raises(il.InputError, match=r"state_change\.json has no column '\w+'; the known form is .+ as in .+"):
        il.tasks.build({"name": name, "path": path, "media": str(tmp_path)})


def test_rows_without_an_answer_are_bad_samples(tmp_path: Path) -> None:
    task = build("mvbench", tmp_path)
    record = {**task.records()[0], "answer": "green"}
    with pytest.raises(il.BadSample, match="answer 'green' is none of the 2 options"):
        task.sample(record)
    folder = tmp_path / "anet"
    build("activitynet_qa", folder)
    answers = json.loads((folder / "test_a.json").read_text())
    task_files.listed(folder / "test_a.json", answers[1:])
    task = il.tasks.build({"name": "activitynet_qa", "path": str(folder), "media": str(folder / "all_test")})
    with pytest.raises(il.BadSample, match="answer is 'None'; it must be text"):
        task.sample(task.records()[0])
    task.sample(task.records()[1])


class Grader(il.Judge):
    """Says the same of everything, and keeps what it was asked."""

    def __init__(self, answer: str) -> None:
        self.answer, self.asked = answer, list[str]()

    def identity(self) -> dict[str, Any]:
        return {"model": "fake", "says": self.answer}

    def ask(self, messages: il.JudgeMessages, attempt: int) -> str:
        self.asked.append("\n".join(turn["content"] for turn in messages))
        return self.answer


def graded(task: Any, judge: Grader, cache: Path, replies: Sequence[str] | None = None) -> list[Any]:
    records = task.records()
    said = replies or [f"reply {i}" for i in range(len(records))]
    return grade(judge, task, list(zip(records, said, strict=False)), cache, retries=0)


@pytest.mark.parametrize("name", JUDGED)
def test_a_kind_judge_gives_the_best_and_the_reply_and_the_truth_reach_it(name: str, tmp_path: Path) -> None:
    task = build(name, tmp_path)
    judge = Grader("{'pred': 'yes', 'score': 5}" if name == "activitynet_qa" else "{'score': 5}")
    grades = graded(task, judge, tmp_path / "cache")
    for found in grades:
        assert found.scores == ({"accuracy": 1.0} if name == "activitynet_qa" else {}) | {"score": task.best["score"]}
    everything = "\n".join(judge.asked)
    for i, record in enumerate(task.records()):
        assert f"reply {i}" in everything
        assert task.answer(record) in everything
    with pytest.raises(il.InputError, match="graded by a judge"):
        task.score(task.records()[0], "a")


def test_videochatgpt_asks_five_dimensions_and_judges_pairs_together(tmp_path: Path) -> None:
    task = build("videochatgpt", tmp_path)
    assert [task.group(record) for record in task.records()] == [*(["CI"] * 2), *(["DO"] * 2), *(["CU"] * 2), "TU",
                                                                 *(["CO"] * 4)]  # fmt: skip
    assert task.expected == 3 * 1996 + 499 + 998
    judge = Grader("{'score': 3}")
    grades = graded(task, judge, tmp_path / "cache")
    assert len(judge.asked) == 9, "two questions of a pair are one request"
    consistency = [text for text in judge.asked if "consistency" in text]
    assert all(f"reply {i}" in "".join(consistency) for i in range(7, 11))
    assert all(f"Predicted answer to question {k}: reply {6 + k}" in consistency[0] for k in (1, 2))
    assert len({text.split("\n")[0] for text in judge.asked}) == 5, "each dimension has criteria of its own"
    assert [found.scores for found in grades] == [{"score": 3.0}] * 11
    alone = graded(task, judge, tmp_path / "cache", replies=["a"] * 8)
    assert [found.error.split(":")[0] for found in alone] == [""] * 7 + ["alone"]


def test_the_hubs_pairs_are_rows_of_one_question_each(tmp_path: Path) -> None:
    rows = [{"video_name": "v_a", "question_1": f"one {i}?", "question_2": "None", "answer": "x"} for i in range(2)]
    rows += [{"video_name": "v_a", "question_1": "None", "question_2": f"two {i}?", "answer": "x"} for i in range(2)]
    task_files.frames(tmp_path / "v_a")
    path = task_files.listed(tmp_path / "consistency_qa.json", rows)
    given = {"name": "videochatgpt", "path": path, "media": str(tmp_path)}
    task = il.tasks.build({**given, "dimensions": ["CO"]})
    assert [asked(task, i)[1] for i in range(4)] == ["\none 0?", "\none 1?", "\ntwo 0?", "\ntwo 1?"]
    judge = Grader("{'score': 3}")
    graded(task, judge, tmp_path / "cache")
    assert sorted(text.partition("Question 1: ")[2].split("\n")[:2] for text in judge.asked) == [
        ["one 0?", "Question 2: two 0?"],
        ["one 1?", "Question 2: two 1?"],
    ]
    with pytest.raises(il.InputError, match=r"consistency_qa\.json has no column 'question'"):
        il.tasks.build({**given, "dimensions": ["CI"]})
    with pytest.raises(il.InputError, match=r"has no temporal_qa\.json; leave out what it asks"):
        il.tasks.build({**given, "path": str(tmp_path), "dimensions": ["TU"]})
    with pytest.raises(il.InputError, match="no dimension 'XY'"):
        il.tasks.build({**given, "dimensions": ["XY"]})


@pytest.mark.parametrize(
    ("said", "score"),
    [
        ("{'score': 4}", 4.0),
        ('{"score": 4.8}', 4.8),
        ("```python\n{'score': 0}\n```", 0.0),
        ("{'score': 6}", None),
        ("{'score': -1}", None),
        ("{'score': '4'}", None),
        ("{'score': True}", None),
        ('{"score": NaN}', None),
        ("{''score': 4.8}", None),
        ("{'score': 4, 'why': 'good'}", None),
        ("The score is {'score': 4}", None),
        ("4", None),
        ("", None),
        ("(" * 5000, None),
    ],
)
def test_a_score_is_read_or_refused_never_guessed(said: str, score: float | None) -> None:
    assert read_score(said) == (None if score is None else {"score": score})


@pytest.mark.parametrize(
    ("said", "scores"),
    [
        ("{'pred': 'yes', 'score': 4}", {"accuracy": 1.0, "score": 4.0}),
        ("{'pred': 'no', 'score': 4}", {"accuracy": 0.0, "score": 4.0}),
        ("{'pred': 'maybe', 'score': 4}", None),
        ("{'pred': 'yes'}", None),
        ("{'pred': ['yes'], 'score': 4}", None),
        ("{'score': 4}", None),
    ],
)
def test_a_verdict_is_read_or_refused(said: str, scores: dict[str, float] | None) -> None:
    assert read_verdict(said) == scores


@pytest.mark.parametrize("name", ["nextqa_mc", "videochatgpt"])
def test_a_model_is_asked_all_items_and_the_audit_says_what_is_missing(
    name: str, assembly: Assembly, tmp_path: Path
) -> None:
    task = build(name, tmp_path / "files")
    settings = Settings(batch=8, generation={"max_new_tokens": 2})
    results = evaluate(LM(assembly, small_config()), {name: task}, tmp_path / "out", settings)
    audited = json.loads((tmp_path / "out/results.json").read_text())["audit"][name]["all"]
    assert audited["run"] == len(task.records())
    assert audited["visuals_fed"] == audited["visuals_expected"] > 0
    assert audited["ungraded"] == (len(task.records()) if name in JUDGED else 0)
    assert (name in results) == (name not in JUDGED)


def test_a_real_video_is_found_read_and_asked_about(shared: Path, assembly: Assembly, tmp_path: Path) -> None:
    rows = [{"video_name": name, "Q": "Describe the video.", "A": "A lion."} for name in ("lion1_", "code", "broken")]
    path = task_files.listed(tmp_path / "q.json", rows)
    task = il.tasks.build({"name": "vdd", "path": path, "media": str(shared / "media")})
    assert asked(task)[0] == shared / "media/lion1_.mp4"
    settings = Settings(generation={"max_new_tokens": 2})
    evaluate(LM(assembly, small_config()), {"vdd": task}, tmp_path / "out", settings)
    audited = json.loads((tmp_path / "out/results.json").read_text())["audit"]["vdd"]["all"]
    assert (audited["run"], audited["unreadable"], audited["visuals_fed"]) == (2, 1, 2)
