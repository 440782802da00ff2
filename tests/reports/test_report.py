"""The report: its numbers are those of the runs and of the paper, its items those that were asked."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from colours_task import Colours
from small_models import small_config

import interleave as il
from interleave.cli import main
from interleave.core.errors import InputError
from interleave.evaluation.evaluate import evaluate
from interleave.evaluation.reply import Reply
from interleave.inference.lm import LM
from interleave.model.assembly import Assembly
from interleave.reports import paper_tables as paper
from interleave.reports.gallery import AskedPart, Gallery, asked_parts, choose_items
from interleave.reports.page import write_report
from interleave.reports.read_runs import Run, read_runs
from interleave.reports.task_tables import differences


@pytest.fixture
def lm(assembly: Assembly) -> LM:
    return LM(assembly, small_config())


def reply(index: int, score: float | None, task: str = "t", **more: Any) -> Reply:
    scores = None if score is None else {"accuracy": score}
    fields = {
        "task": task, "index": index, "id": str(index), "condition": "as it is", "group": "all", "prompt": "Which?",
        "reply": "said", "answer": "truth", "scores": scores, "chance": 0.25, "visuals": (1, 1), "views": 1,
        "prompt_tokens": 5, "reply_tokens": 1, "truncated": False, "shortened": (), "prompt_hash": "x", "error": None,
    }  # fmt: skip
    return Reply(**{**fields, **more})


def run(name: str, replies: list[Reply], results: dict[str, Any] | None = None, **more: Any) -> Run:
    keyed = {(r.task, r.condition, r.index): r for r in replies}
    return Run(name, Path(name), {"results": results or {"t": {}}, **more}, keyed)


def test_a_page_holds_everything_and_asks_for_nothing(lm: LM, tmp_path: Path) -> None:
    evaluate(lm, {"colours": Colours()}, tmp_path)
    metrics = tmp_path / "metrics" / "version_0"
    metrics.mkdir(parents=True)
    (metrics / "metrics.csv").write_text("step,train/loss,val/loss\n0,2.5,\n9,1.5,\n9,,1.7\n")
    page = write_report(read_runs([tmp_path]), tmp_path, {"colours": Colours()}, seconds=90).read_text()
    assert not re.search(r'(src|href)="http', page)
    assert page.count("data:image/png;base64,") == 1 + 8, "the curves and eight pictures"
    assert "1.5 minutes" in page
    assert "1 items could not be asked" in page
    assert "1 unreadable (1 missing file)" in page
    for text in ("low", "even", "odd", "25.0"):
        assert text in page
    told = (tmp_path / "report.md").read_text()
    assert "| low/odd | 100.0 (100.0 to 100.0) | 25.0 | 4 |" in told
    assert "8 of 9 items" in told


class Explained(Colours):
    def explains(self) -> dict[str, str]:
        return {"low": "Pictures of small numbers.", "low/odd": "Of odd ones.", "as it is": "Nothing was changed."}


def test_a_page_explains_itself(lm: LM, tmp_path: Path) -> None:
    evaluate(lm, {"colours": Explained()}, tmp_path)
    lm.save(tmp_path / "model")
    (tmp_path / "model/model.safetensors").rename(tmp_path / "model.safetensors")
    config = {
        "dataset": {"mini": {}, "m4": {}}, "trainer": {"max_steps": 7, "accumulate_grad_batches": 2}, "init": "base",
        "data": {"batch_size": 3, "sequence_length": 1024},
    }  # fmt: skip
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    page = write_report(read_runs([tmp_path]), tmp_path, {"colours": Explained()}, seconds=90).read_text()
    head, _, tables = page.partition("<h2>Task")
    numbers = sum(p.numel() for p in lm.model.parameters())
    for text in (
        "On the data mini, m4, from the weights of base, for 7 steps of 6 rows of 1,024 tokens on each device.",
        f"{numbers:,} parameters: vision encoder ",
        "1.5 minutes from start to report",
        "<b>low</b>: Pictures of small numbers.",
        "<b>as it is</b>: Nothing was changed.",
        "guesses among all possible answers",
        "95% interval",
    ):
        assert text in head, text
    assert "Of odd ones." not in head
    assert "Of odd ones." in tables
    told = (tmp_path / "report.md").read_text()
    assert f"- {tmp_path.name}, trained: On the data mini, m4, " in told
    assert "- low/odd: Of odd ones.\n" in told


def test_every_column_of_the_paper_has_a_place_in_our_tasks() -> None:
    published = yaml.safe_load((Path(paper.__file__).parent / "published.yaml").read_text())
    for table, rows in published.items():
        for column in rows["columns"]:
            places = paper.COLUMNS_OF_ONE_TABLE.get((table, column), paper.PAPER_COLUMNS.get(column, ()))
            assert places, f"{table}: {column}"
            for place in places:
                assert place.task in il.tasks
        assert all(len(row) == len(rows["columns"]) for row in rows.values())


def test_our_numbers_stand_in_the_papers_columns_on_its_scale() -> None:
    def so(**groups: dict[str, float]) -> dict[str, Any]:
        return {"as it is": {group: {**metrics, "n": 3} for group, metrics in groups.items()}}

    results = {
        "interleave_bench": so(spot_the_diff={"score": 0.343}, puzzle={"score": 0.5}),
        "nlvr2": so(nlvr2={"score": 0.678}),
        "mme": so(all={"score": 1456.0, "perception": 1.0}),
        "pope": so(all={"accuracy": 0.1, "f1": 0.8678}),
        "scienceqa_img": so(all={"accuracy": 0.606}),
        "videochatgpt": so(CI={"score": 3.12}),
    }
    whole = {"complete": True}
    audit = {"interleave_bench": {"spot_the_diff": whole, "puzzle": {"complete": False}}, "mme": {"all": whole}}
    tables = {t.title: t for t in paper.tables([run("mine", [], results, audit=audit)])}
    assert set(tables) == {"Multi-image", "Video", "Single image"}
    multi, single = tables["Multi-image"], tables["Single image"]
    at = multi.columns.index
    assert multi.ours["mine"][at("SD")] == pytest.approx(34.3)
    assert multi.ours["mine"][at("NLVR2")] == pytest.approx(67.8)
    assert multi.ours["mine"][at("BLINK")] is None
    assert multi.whole["mine"][at("SD")]
    assert not multi.whole["mine"][at("Puzzle")], "a number of too few items is marked"
    assert multi.theirs["Interleave 0.5B"][at("SD")] == 34.3
    assert single.ours["mine"] == [None, None, None, 52.0, pytest.approx(60.6), pytest.approx(86.78)]
    assert tables["Video"].ours["mine"][tables["Video"].columns.index("CI")] == 3.12


def test_items_on_which_runs_differ_come_first_then_wrong_ones() -> None:
    a = run("a", [reply(0, 1), reply(1, 0), reply(2, 1), reply(3, 1)])
    b = run("b", [reply(0, 1), reply(1, 0), reply(2, 0), reply(3, 1)])
    ((keys, total),) = choose_items([a, b], 3).values()
    assert [index for _, _, index in keys] == [2, 1, 0]
    assert total == 4


def test_two_runs_are_compared_on_the_items_of_both() -> None:
    a = run("a", [reply(i, float(i < 10)) for i in range(40)])
    b = run("b", [reply(i, float(i < 30)) for i in range(30)] + [reply(30, None)])
    (found,) = differences([a, b])
    assert found.says.startswith("b is better than a by 66.7 points")
    assert found.unpaired == 10
    assert list(differences([a])) == []


def test_what_cannot_be_opened_is_said_where_it_would_stand() -> None:
    task, gallery = Colours(), Gallery()
    shown = asked_parts(task, task.records()[2], gallery)
    assert shown == [AskedPart("xx"), AskedPart("[image: nowhere.png does not exist]")]
    asked_parts(task, task.records()[1], gallery)
    asked_parts(task, task.records()[1], gallery)
    assert len(gallery.pictures) == 1, "the same picture stands in the page once"


def test_markup_of_a_reply_stays_text(tmp_path: Path) -> None:
    said = reply(0, 0.0, reply="<script>alert(1)</script>", prompt="</script><b>?")
    (tmp_path / "replies.jsonl").write_text(said.line())
    results = {"t": {"as it is": {"all": {"accuracy": 0.0, "n": 1, "interval": [0, 0]}}}}
    (tmp_path / "results.json").write_text(json.dumps({"results": results, "audit": {}}))
    page = write_report(read_runs([tmp_path]), tmp_path, {}).read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_runs_are_named_as_short_as_they_can_be_told_apart(tmp_path: Path) -> None:
    for folder in ("one/x", "two/x"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "results.json").write_text('{"results": {}}')
        (tmp_path / folder / "replies.jsonl").write_text("")
    assert [r.name for r in read_runs([tmp_path / "one/x", tmp_path / "two/x"])] == ["one/x", "two/x"]
    assert [r.name for r in read_runs([tmp_path / "one/x"])] == ["x"]


def test_the_command_opens_the_items_of_its_runs(lm: LM, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lm.save(tmp_path / "model")
    mini = ["task=mini", f"task.mini.root={tmp_path}/mini", "task.mini.scenes=5", "task.mini.controls=[]"]
    few = ["task.mini.scenarios=[video]", "generation={max_new_tokens:2}"]
    for name in "ab":
        assert main(["eval", f"model={tmp_path}/model", f"out={tmp_path}/{name}", *mini, *few]) == 0
    out = tmp_path / "out"
    assert main(["report", str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(out), "--items", "2"]) == 0
    page = (out / "report.html").read_text()
    pictures = json.loads(re.search(r'id="pictures">(.*?)</script>', page, re.DOTALL)[1])  # type: ignore[index]
    named = set(re.findall(r'data-picture="(\w+)"', page))
    assert named == set(pictures)
    assert len(named) > 8
    assert "no difference can be claimed" in page
    mini_task = il.tasks.build({"name": "mini", "root": f"{tmp_path}/mini", "scenes": 5})
    groups = {mini_task.group(record) for record in mini_task.records()}
    assert mini_task.explains().keys() == groups | {group.partition("/")[0] for group in groups} | {"blank", "reversed"}
    assert "<b>video</b>: Eight frames of a square" in page
    assert main(["report", str(tmp_path / "none")]) == 2
    assert f"{tmp_path}/none holds no results: results.json is not there" in capsys.readouterr().err
    (out / "results.json").write_text("{}")
    with pytest.raises(InputError, match="holds no results"):
        read_runs([out])
