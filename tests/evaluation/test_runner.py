"""The runner: nothing asked twice, nothing lost in silence, the same file however it came about."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import bench_files
import numpy as np
import pytest
import torch
from PIL import Image
from small_models import small_config

import interleave as il
from interleave.checkpoints import save_config, save_weights
from interleave.cli import main
from interleave.evaluation import batch_plan as plan
from interleave.evaluation.audit import ALL
from interleave.evaluation.evaluate import JUDGEMENTS, Evaluation, evaluate
from interleave.evaluation.media_prefetch import Prepared, media_key
from interleave.evaluation.reply_journal import ASKED, REPLIES
from interleave.evaluation.runner import Runner, Settings
from interleave.inference.generate import GeneratedReply
from interleave.inference.lm import LM
from interleave.model.assembly import Assembly, assemble


@pytest.fixture
def lm(assembly: Assembly) -> LM:
    return LM(assembly, small_config())


class Pictures(il.Task):
    """Questions about files, several of them about the same one."""

    generation: Mapping[str, Any] = {"max_new_tokens": 3}

    def __init__(self, folder: Path, files: int = 4, questions: int = 3) -> None:
        self.folder, self.files, self.questions = folder, files, questions
        folder.mkdir(exist_ok=True)
        for k in range(files):
            Image.fromarray(np.full((9, 9, 3), 20 * k, np.uint8)).save(folder / f"{k}.png")

    def records(self) -> Sequence[Mapping[str, Any]]:
        return [{"id": f"q{i}", "file": i % self.files} for i in range(self.files * self.questions)]

    def sample(self, record: Mapping[str, Any]) -> il.Sample:
        shown = il.Media("image", self.folder / f"{record['file']}.png")
        return il.Sample([il.Message("user", [shown, f"Question {record['id']}?"])])

    def answer(self, record: Mapping[str, Any]) -> str:
        return f"truth {record['file']}"

    def score(self, record: Mapping[str, Any], reply: str) -> dict[str, float]:
        return {"accuracy": float(reply == self.answer(record))}


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / REPLIES).read_text(encoding="utf-8").splitlines()]


def results(out: Path) -> Any:
    return json.loads((out / "results.json").read_text(encoding="utf-8"))


def evaluation(lm: LM, task: il.Task, out: Path, **changes: Any) -> Evaluation:
    return Evaluation({"pictures": task}, out, "one model", replace(Settings(batch=3), **changes))


def ask(lm: LM, task: il.Task, out: Path, **changes: Any) -> Evaluation:
    made = evaluation(lm, task, out, **changes)
    made.ask(lambda: lm)
    made.finish(None, {})
    return made


def test_every_visual_is_opened_and_encoded_once(lm: LM, tmp_path: Path, monkeypatch: Any) -> None:
    opened, seen = [], []
    adapter = lm.adapters["image"]
    prepare, see = type(adapter).prepare, lm.model.encode_views
    monkeypatch.setattr(type(adapter), "prepare", lambda self, data: opened.append(data) or prepare(self, data))
    monkeypatch.setattr(lm.model, "encode_views", lambda pixels: seen.append(len(pixels)) or see(pixels))
    ask(lm, Pictures(tmp_path / "media", files=5, questions=4), tmp_path / "out")
    assert len(lines(tmp_path / "out")) == 20
    assert len(opened) == len(set(opened)) == 5
    assert seen == [1] * 5


def test_items_that_share_media_are_asked_side_by_side(tmp_path: Path) -> None:
    outlined = plan.outlines(Pictures(tmp_path, files=4, questions=3))
    (window,) = plan.windows(outlined, 64)
    assert [i % 4 for i in window] == [2] * 3 + [3] * 3 + [0] * 3 + [1] * 3, "q10 and q11 are longer"
    runs = plan.windows(outlined, 3)
    assert [i for run in runs for i in run] == window
    assert {len(run) for run in runs} == {3}


def test_batches_keep_both_limits_and_the_largest_come_first() -> None:
    sizes = {0: (10, 1), 1: (50, 2), 2: (50, 3), 3: (9, 0), 4: (200, 1)}
    assert plan.batches(list(sizes), sizes.__getitem__, 3, 120) == [[4], [2, 1], [0, 3]]
    assert plan.batches(list(sizes), sizes.__getitem__, 1, 10**6) == [[4], [2], [1], [0], [3]]


def test_what_holds_the_same_has_one_key() -> None:
    array = np.zeros((2, 2, 3), np.uint8)
    assert media_key(il.Media("image", array)) == media_key(il.Media("image", array.copy()))
    assert media_key(il.Media("image", "a.png")) == media_key(il.Media("image", Path("a.png")))
    different = [
        il.Media("image", "a.png"), il.Media("video", "a.png"), il.Media("image", ["a.png"]), il.Media("image", array),
        il.Media("image", array + 1), il.Media("image", b"a.png"), il.Media("video", ["a", "b"]),
        il.Media("video", ["ab"]),
    ]  # fmt: skip
    assert len({media_key(media) for media in different}) == len(different)


def test_media_that_do_not_fit_are_opened_when_they_are_used(lm: LM, tmp_path: Path) -> None:
    Pictures(tmp_path)
    media = [il.Media("image", tmp_path / f"{k}.png") for k in range(4)]
    prepared = Prepared(lm.adapters, 1, limit=1)
    prepared.want(media)
    assert [prepared.get(m).pixel_values.unique().item() for m in media] == [0, 20, 40, 60]
    assert prepared.bytes == 16 * 16 * 3, "one was there before the limit was reached"
    prepared.keep([])
    assert prepared.bytes == 0
    prepared.close()


def test_every_difference_is_said(lm: LM, tmp_path: Path) -> None:
    class Short(Pictures):
        expected = 14

        def sample(self, record: Mapping[str, Any]) -> il.Sample:
            sample = super().sample(record)
            if record["id"] == "q1":
                return il.Sample([il.Message("user", ["x" * 400])])
            if record["id"] == "q2":
                views = [np.zeros((4, 4, 3), np.uint8)] * 12
                return il.Sample([il.Message("user", [il.Media("scene3d", views)])])
            return sample

    task = Short(tmp_path / "media")
    (tmp_path / "media/3.png").write_bytes(b"no picture")
    made = ask(lm, task, tmp_path / "out", prompt_tokens=300, generation={"max_new_tokens": 2})
    row = made.audit["pictures"][ALL]
    assert {k: getattr(row, k) for k in ("expected", "found", "run", "unreadable", "over_length", "complete")} == {
        "expected": 14, "found": 12, "run": 8, "unreadable": 3, "over_length": 1, "complete": False,
    }  # fmt: skip
    assert row.generation["max_new_tokens"] == 2
    assert (row.visuals_expected, row.visuals_fed) == (10 + 12, 7 + 10)
    assert row.truncated == sum(line["truncated"] for line in lines(tmp_path / "out")) > 0
    assert row.says == (
        "12 items found, 14 expected; 8 of 12 items run; 3 unreadable (3 not an image); 1 over-length; "
        f"17 of 22 visuals fed; {row.truncated} replies cut at max_new_tokens"
    )
    written = {line["id"]: line for line in lines(tmp_path / "out")}
    assert written["q3"]["error"]["reason"] == "not an image"
    assert written["q1"]["error"]["message"].startswith("the sample: a prompt of 4")
    assert written["q2"]["visuals"] == [12, 10]
    assert (written["q3"]["visuals"], written["q3"]["reply"], written["q3"]["scores"]) == ([1, 0], None, None)
    assert results(tmp_path / "out")["results"]["pictures"]["as it is"][ALL]["n"] == 8


def test_a_whole_row_says_nothing(lm: LM, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(Runner, "answers", lambda self, job, items, *_: [GeneratedReply("no", 1, False)] * len(items))
    row = ask(lm, Pictures(tmp_path / "media"), tmp_path / "out").audit["pictures"][ALL]
    assert row.complete
    assert row.says == ""
    assert row.reply_tokens == row.expected == 12
    assert row.prompt_tokens == sum(line["prompt_tokens"] for line in lines(tmp_path / "out"))


def test_who_knows_the_truth_gets_everything(lm: LM, tmp_path: Path, monkeypatch: Any) -> None:
    def oracle(self: Runner, job: Any, items: Any, *_: Any) -> list[GeneratedReply]:
        return [GeneratedReply(job.task.answer(job.records[item.asked.index]), 1, False) for item in items]

    monkeypatch.setattr(Runner, "answers", oracle)
    ask(lm, Pictures(tmp_path / "media"), tmp_path / "out")
    metrics = results(tmp_path / "out")["results"]["pictures"]["as it is"][ALL]
    assert metrics == {"accuracy": 1, "n": 12, "interval": [1, 1]}


def test_what_was_asked_is_not_asked_again(lm: LM, tmp_path: Path, monkeypatch: Any) -> None:
    task, out = Pictures(tmp_path / "media"), tmp_path / "out"
    (tmp_path / "media/3.png").unlink()
    ask(lm, task, out)
    before = lines(out)
    Pictures(tmp_path / "media")  # the picture is there again
    answered: list[str] = []
    answers = Runner.answers

    def watched(self: Runner, job: Any, items: Any, *rest: Any) -> list[GeneratedReply]:
        answered.extend(item.asked.id for item in items)
        return answers(self, job, items, *rest)

    monkeypatch.setattr(Runner, "answers", watched)
    made = ask(lm, task, out)
    assert sorted(answered) == ["q11", "q3", "q7"]
    assert made.audit["pictures"][ALL].run == 12
    assert [line for line in lines(out) if line["id"] not in answered] == [line for line in before if line["reply"]]


def test_replies_made_in_another_way_are_refused_or_asked_anew(lm: LM, tmp_path: Path) -> None:
    task, out = Pictures(tmp_path / "media"), tmp_path / "out"
    ask(lm, task, out)
    with pytest.raises(
        il.InputError, match=r"replies to pictures .*generation was .*3.* then and is .*2.* now.*overwrite"
    ):
        ask(lm, task, out, generation={"max_new_tokens": 2})
    with pytest.raises(il.InputError, match="items was 12"):
        ask(lm, Pictures(tmp_path / "media", questions=2), out)
    other = Evaluation({"pictures": task}, out, "another model", Settings())
    with pytest.raises(il.InputError, match="holds replies of another model"):
        other.ask(lambda: lm)
    assert len(lines(out)) == 12
    changed = evaluation(lm, task, out, generation={"max_new_tokens": 2})
    changed.ask(lambda: lm, overwrite=True)
    changed.finish(None, {})
    assert {line["reply_tokens"] for line in lines(out)} == {2}


def test_other_tasks_of_the_same_model_stay(lm: LM, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for name, files in (("pictures", 2), ("more", 3)):
        made = Evaluation({name: Pictures(tmp_path / name, files)}, out, "one model", Settings())
        made.ask(lambda: lm)
        made.finish(None, {})
    assert [line["task"] for line in lines(out)] == ["pictures"] * 6 + ["more"] * 9
    assert list(results(out)["results"]) == list(results(out)["audit"]) == ["pictures", "more"]


def torn(text: str, batches: int) -> str:
    """What three batches leave, and half of a line of the next."""
    kept = text.splitlines(keepends=True)[: 3 * batches + 2]
    return "".join(kept)[:-20]


@pytest.mark.parametrize("batches", [0, 1, 2])
def test_a_torn_line_is_dropped_and_its_batch_asked_again(batches: int, lm: LM, tmp_path: Path) -> None:
    task, whole, out = Pictures(tmp_path / "media"), tmp_path / "whole", tmp_path / "out"
    made = evaluation(lm, task, whole)
    made.ask(lambda: lm)
    part = (whole / "replies.part-0.jsonl").read_text()
    made.finish(None, {})
    evaluation(lm, task, out).journal.open(overwrite=False)
    (out / "replies.part-0.jsonl").write_text(torn(part, batches))
    ask(lm, task, out)
    assert (out / REPLIES).read_bytes() == (whole / REPLIES).read_bytes()
    assert not list(out.glob("*part*"))


def test_shares_are_whole_and_apart(lm: LM, tmp_path: Path) -> None:
    made = evaluation(lm, Pictures(tmp_path / "media", files=7, questions=3), tmp_path / "out")
    shares = [[i for job in made.share({}, rank, 3) for i in job.items] for rank in range(3)]
    assert sorted(i for share in shares for i in share) == list(range(21))


def test_ctrl_c_leaves_a_folder_that_goes_on(lm: LM, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    task, whole, out = Pictures(tmp_path / "media"), tmp_path / "whole", tmp_path / "out"
    ask(lm, task, whole)
    calls: list[int] = []
    answers = Runner.answers

    def interrupted(self: Runner, *rest: Any) -> list[GeneratedReply]:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return answers(self, *rest)

    monkeypatch.setattr(Runner, "answers", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ask(lm, task, out)
    assert "out keeps 6 items, and the same command goes on from there" in " ".join(capsys.readouterr().err.split())
    ask(lm, task, out)
    assert len(calls) == 5
    assert (out / REPLIES).read_bytes() == (whole / REPLIES).read_bytes()


class Rated(Pictures, il.JudgedTask):
    def score(self, record: Mapping[str, Any], reply: str) -> dict[str, float]:
        return il.JudgedTask.score(self, record, reply)

    def judge(self, record: Mapping[str, Any], reply: str) -> list[dict[str, str]]:
        return [{"role": "user", "content": f"{record['file']}"}]

    def judgement(self, text: str) -> dict[str, float] | None:
        return {"score": float(text)} if text != "?" else None


class Strict(il.Judge):
    """Knows nothing of file 3."""

    def __init__(self, factor: int) -> None:
        self.factor = factor

    def identity(self) -> Mapping[str, Any]:
        return {"factor": self.factor}

    def ask(self, messages: Any, attempt: int) -> str:
        file = int(messages[0]["content"].split()[0])
        return "?" if file == 3 else str(self.factor * file)


def test_a_judge_grades_what_was_asked_without_asking_again(lm: LM, tmp_path: Path) -> None:
    task, out = Rated(tmp_path / "media"), tmp_path / "out"
    made = ask(lm, task, out)
    assert made.audit["pictures"][ALL].says.endswith("12 not graded")
    assert results(out)["results"] == {}

    def nobody() -> LM:
        raise AssertionError("the model is not needed")

    for factor in (1, 2):
        made = evaluation(lm, task, out)
        made.ask(nobody)
        graded = made.finish(Strict(factor), {})
        assert graded["pictures"]["as it is"][ALL].score == factor * 1.0
        assert graded["pictures"]["as it is"][ALL].num_items == 9
        assert made.audit["pictures"][ALL].ungraded == 3
        assert [line["scores"] for line in lines(out)[:4]] == [{"score": factor * float(i)} for i in range(3)] + [None]
    assert (out / JUDGEMENTS).is_file()


# as users run it


@pytest.fixture(scope="module")
def bench(tmp_path_factory: Any) -> tuple[Path, Path]:
    """A run's folder and a benchmark's."""
    folder = tmp_path_factory.mktemp("bench")
    torch.manual_seed(0)
    made = assemble(small_config())
    save_config(folder / "run", small_config())
    save_weights(folder / "run", made.model, made.model.state_dict())
    bench_files.write(folder / "files", items_per_dataset=3, broken=True)
    return folder / "run", folder / "files"


def command(bench: tuple[Path, Path], out: Path) -> list[str]:
    run, files = bench
    names = ("interleave_bench", "interleave_bench_3d")
    roots = [f"task.{name}.root={files}" for name in names]
    short = ["generation={max_new_tokens:4}", "eval_batch=8", "num_workers=2"]
    return ["eval", f"model={run}", f"out={out}", f"task=[{','.join(names)}]", *roots, *short]


@pytest.fixture(scope="module")
def uninterrupted(bench: tuple[Path, Path], tmp_path_factory: Any) -> Path:
    out: Path = tmp_path_factory.mktemp("whole")
    assert main(command(bench, out)) == 0
    return out


def started(arguments: list[str], *launcher: str) -> "subprocess.Popen[str]":
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, *launcher, "-m", "interleave.cli", *arguments],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_the_whole_benchmark_runs_end_to_end(uninterrupted: Path, bench: tuple[Path, Path]) -> None:
    written, content = lines(uninterrupted), results(uninterrupted)
    audit = content["audit"]
    lost = [line for line in written if line["error"]]
    assert len(written) == sum(rows[ALL]["found"] for rows in audit.values())
    assert len(lost) == sum(rows[ALL]["unreadable"] for rows in audit.values()) > 0
    assert all("unreadable" in rows[ALL]["says"] and not rows[ALL]["complete"] for rows in audit.values())
    assert content["audit"]["interleave_bench"][ALL]["generation"]["max_new_tokens"] == 4
    released = [json.loads(line) for line in (uninterrupted / "interleave_bench.jsonl").read_text().splitlines()]
    asked = [line for line in written if line["task"] == "interleave_bench" and not line["error"]]
    assert len(released) == len(asked)
    assert {"dataset", "sample_id", "prompt", "pred_response", "gt_response", "question_type"} <= released[0].keys()
    assert [row["pred_response"] for row in released] == [line["reply"] for line in asked]


def test_killed_at_any_item_and_resumed_equals_uninterrupted(
    bench: tuple[Path, Path], uninterrupted: Path, tmp_path: Path
) -> None:
    arguments, part = command(bench, tmp_path), tmp_path / "replies.part-0.jsonl"
    process = started(arguments)
    try:
        deadline = time.time() + 240
        while time.time() < deadline and (not part.is_file() or part.read_bytes().count(b"\n") < 30):
            assert process.poll() is None, process.communicate()[1][-2000:]
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.communicate()
    assert not (tmp_path / REPLIES).exists()
    kept = [json.loads(line)["id"] for line in part.read_text().splitlines() if line.endswith("}")]
    assert 30 <= len(kept) < len(lines(uninterrupted))
    with part.open("a") as file:
        file.write('{"task": "interleave_bench", "ind')
    assert main(arguments) == 0
    assert (tmp_path / REPLIES).read_bytes() == (uninterrupted / REPLIES).read_bytes()


def test_two_processes_give_the_file_of_one(bench: tuple[Path, Path], uninterrupted: Path, tmp_path: Path) -> None:
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    process = started(command(bench, tmp_path), *torchrun)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err[-3000:]
    assert out.count("results:") == 1
    assert (tmp_path / REPLIES).read_bytes() == (uninterrupted / REPLIES).read_bytes()
    assert set(json.loads((tmp_path / ASKED).read_text())["tasks"]) == {"interleave_bench", "interleave_bench_3d"}


def test_visuals_may_stand_in_front_when_asked(lm: LM, tmp_path: Path) -> None:
    class Apart(il.Task):
        """A question between its pictures."""

        def records(self) -> Sequence[Mapping[str, Any]]:
            return [{"id": 0}]

        def sample(self, record: Mapping[str, Any]) -> il.Sample:
            one, two = (il.Media("image", np.full((8, 8, 3), shade, np.uint8)) for shade in (0, 200))
            return il.Sample([il.Message("user", ["from ", one, " to ", two, "?"])])

        def answer(self, record: Mapping[str, Any]) -> str:
            return "a"

        def score(self, record: Mapping[str, Any], reply: str) -> dict[str, float]:
            return {"accuracy": 1.0}

    prompts = []
    for placement in ("interleaved", "front"):
        settings = Settings(placement=placement, generation={"max_new_tokens": 2})  # type: ignore[arg-type]
        evaluate(lm, {"apart": Apart()}, tmp_path / placement, settings)
        (line,) = (tmp_path / placement / "replies.jsonl").read_text().splitlines()
        prompts.append(json.loads(line)["prompt"])
    assert prompts == ["from <image> to <image>?", "<image>\n<image>\nfrom Image 1 to Image 2?"]


class Dialogues(il.Task):
    """Two dialogues of three questions, each after the model's replies to those before it."""

    generation: Mapping[str, Any] = {"max_new_tokens": 4}

    def records(self) -> Sequence[Mapping[str, Any]]:
        return [
            {"id": f"{d}/{k}", "said": [], "before": 3 * d + k - 1 if k else None} for d in range(2) for k in range(3)
        ]

    def after(self, record: Mapping[str, Any]) -> int | None:
        before: int | None = record["before"]
        return before

    def continued(self, record: Mapping[str, Any], replies: Sequence[str]) -> Mapping[str, Any]:
        return {**record, "said": list(replies)}

    def sample(self, record: Mapping[str, Any]) -> il.Sample:
        picture = il.Media("image", np.full((8, 8, 3), 100 * int(record["id"][0]), np.uint8))
        turns = [il.Message("user", [picture, "look"])]
        for said in record["said"]:
            turns += [il.Message("assistant", [said]), il.Message("user", ["and?"])]
        return il.Sample(turns, record["id"], "dialogues")

    def answer(self, record: Mapping[str, Any]) -> str:
        return "a"

    def score(self, record: Mapping[str, Any], reply: str) -> dict[str, float]:
        return {"accuracy": 1.0}


def test_a_question_goes_on_from_the_models_own_replies(
    lm: LM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    see = lm.model.encode_views
    monkeypatch.setattr(lm.model, "encode_views", lambda pixels: seen.append(len(pixels)) or see(pixels))
    evaluate(lm, {"dialogues": Dialogues()}, tmp_path, Settings(batch=2))
    lines = [json.loads(line) for line in (tmp_path / "replies.jsonl").read_text().splitlines()]
    assert len(lines) == 6
    assert sum(seen) == 2, "the pictures of a dialogue are encoded once, however many questions it has"
    for first, second, third in (lines[:3], lines[3:]):
        assert second["prompt"] == f"user: <image>look\nassistant: {first['reply']}\nuser: and?"
        assert third["prompt"] == second["prompt"] + f"\nassistant: {second['reply']}\nuser: and?"
        assert first["reply"] == lm.reply([Dialogues().sample({"id": first["id"], "said": []})], max_new_tokens=4)[0]


def test_dialogues_go_on_where_they_were_left(lm: LM, tmp_path: Path) -> None:
    evaluate(lm, {"dialogues": Dialogues()}, tmp_path, Settings(batch=2))
    whole = (tmp_path / REPLIES).read_text()
    for kept in (1, 3, 4):
        lines = sorted(whole.splitlines(keepends=True), key=lambda line: json.loads(line)["id"].split("/")[::-1])
        (tmp_path / REPLIES).write_text("".join(lines[:kept]))
        again = Evaluation({"dialogues": Dialogues()}, tmp_path, "same", Settings(batch=2))
        asked = json.loads((tmp_path / ASKED).read_text())
        (tmp_path / ASKED).write_text(json.dumps({**asked, "model": "same"}))
        again.ask(lambda: lm, ranks=(0, 1))
        again.finish(None, {})
        assert (tmp_path / REPLIES).read_text() == whole
