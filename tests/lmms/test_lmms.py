"""lmms-eval, as a user runs it, on a model of ours. It needs an environment of its own: nox -s lmms."""

import json
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lmms_eval.api.instance import Instance
from lmms_eval.models import MODEL_REGISTRY_V2
from PIL import Image

import interleave as il
from interleave.cli import main
from interleave.evaluation.lmms_eval import Interleave, generation

UTILS = """
    import io

    from PIL import Image

    def visuals(doc):
        return [Image.open(io.BytesIO(data)).convert("RGB") for data in doc["images"]]

    def text(doc, kwargs=None):
        return doc["question"]

    def messages(doc, kwargs=None):
        shown = [{"type": "image", "url": image} for image in visuals(doc)]
        content = [shown[0], {"type": "text", "text": doc["question"]}, *shown[1:]]
        return [{"role": "user", "content": content}]

    def results(doc, results):
        return {"right": float(results[0] == doc["answer"])}
"""
TASK = """
    task: looked_at
    dataset_path: parquet
    dataset_kwargs:
      data_files: {{test: {files}}}
    test_split: test
    output_type: generate_until
    doc_to_visual: !function utils.visuals
    doc_to_text: !function utils.text
    doc_to_messages: !function utils.messages
    doc_to_target: answer
    process_results: !function utils.results
    generation_kwargs: {{max_new_tokens: 6, temperature: 0, do_sample: false}}
    metric_list: [{{metric: right, aggregation: mean, higher_is_better: true}}]
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    small = ["trainer.max_steps=2", "dataset.mini.scenes=5", f"dataset.mini.root={folder}/mini", "task=[]"]
    assert main(["train", "experiment=quickstart", *small, f"run={folder}/run", "callbacks.progress=null"]) == 0
    return folder / "run"


def samples() -> list[il.Sample]:
    """One picture, which goes into tiles, and two pictures around their question."""
    one, two, three = (np.random.default_rng(i).integers(0, 255, (40, 70, 3), dtype=np.uint8) for i in range(3))
    single = il.Message("user", [il.Media("multipatch", one), "What is it?"])
    several = il.Message("user", [il.Media("image", two), "What is new?", il.Media("image", three)])
    return [il.Sample([single], "0", "looked_at"), il.Sample([several], "1", "looked_at")]


def test_the_entry_point_is_found() -> None:
    assert MODEL_REGISTRY_V2.get_model_class("interleave") is Interleave


def test_lmms_eval_runs_its_task_and_gets_our_replies(model: Path, tmp_path: Path) -> None:
    lm = il.load(model)
    truth = lm.reply(samples(), max_new_tokens=6)
    rows = []
    for sample, answer in zip(samples(), truth, strict=True):
        parts = sample.messages[0].content
        pictures = [tmp_path / f"{sample.id}-{i}.png" for i, p in enumerate(parts) if isinstance(p, il.Media)]
        for path, part in zip(pictures, [p for p in parts if isinstance(p, il.Media)], strict=True):
            Image.fromarray(part.data).save(path)
        images = [path.read_bytes() for path in pictures]
        question = next(p for p in parts if isinstance(p, str))
        rows.append({"images": images, "question": question, "answer": answer})
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    (tasks / "utils.py").write_text(dedent(UTILS))
    (tasks / "looked_at.yaml").write_text(dedent(TASK.format(files=tmp_path / "rows.parquet")))
    line = [sys.executable, "-m", "lmms_eval", "--model", "interleave", "--model_args", f"pretrained={model}"]
    line += [
        "--tasks",
        "looked_at",
        "--include_path",
        str(tasks),
        "--batch_size",
        "2",
        "--output_path",
        f"{tmp_path}/out",
    ]
    done = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = next((tmp_path / "out").rglob("*_results.json"), None)
    assert found, f"no results: {done.stdout[-2000:]} {done.stderr[-2000:]}"
    results = json.loads(found.read_text())["results"]["looked_at"]
    assert results["right,none"] == 1.0, "the replies are those of LM.reply"


def test_the_likelihood_is_that_of_the_answer(model: Path) -> None:
    door, sample = Interleave(str(model)), samples()[0]
    picture, question = (p for p in sample.messages[0].content)
    likelihoods = []
    for answer in ("yes", "no"):
        arguments = (question, answer, lambda doc: [doc["picture"]], 0, "t", "test")
        request = Instance("loglikelihood", arguments, 0, {"task": "t", "doc_id": 0, "repeats": 1})
        door.task_dict = {"t": {"test": [{"picture": picture.data}]}}
        ((likely, greedy),) = door.loglikelihood([request])
        batch = door.lm.batch([il.Sample([sample.messages[0], il.Message("assistant", [answer])])])
        assert likely == pytest.approx(-float(door.lm.model.loss(batch)[0]), rel=1e-4)
        assert not greedy
        likelihoods.append(likely)
    assert likelihoods[0] != likelihoods[1]


def test_options_of_tasks_become_options_of_replies() -> None:
    assert generation({"max_new_tokens": 3, "temperature": 0, "do_sample": False, "until": ["\n\n"]}) == {
        "max_new_tokens": 3, "stop_strings": ["\n\n"],
    }  # fmt: skip
    assert generation({"temperature": 0.5, "top_p": None, "until": "x"}) == {"temperature": 0.5, "stop_strings": ["x"]}


def test_what_cannot_be_read_is_named_and_the_others_are_answered(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    door = Interleave(str(model), batch_size=2)
    good = np.zeros((8, 8, 3), np.uint8)
    door.task_dict = {"t": {"test": [{"url": good}, {"url": "nowhere.png"}]}}

    def messages(doc: dict[str, object]) -> list[dict[str, object]]:
        return [{"role": "user", "content": [{"type": "image", **doc}, {"type": "text", "text": "What?"}]}]

    meta = {"task": "t", "doc_id": 0, "repeats": 1}
    requests = [
        Instance("generate_until", ("", messages, {"max_new_tokens": 4}, i, "t", "test"), i, meta) for i in range(2)
    ]
    replies = [r.text for r in door.generate_until(requests)]
    alone = door.lm.chat([il.Message("user", [il.Media("multipatch", good), "What?"])], max_new_tokens=4)
    assert replies == [alone, ""]
    assert "t/1" in capsys.readouterr().out
