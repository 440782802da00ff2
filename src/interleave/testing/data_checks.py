"""Checks of what feeds and asks a model: data sets, tasks and judges; and a small annotation file to check them on."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from ..core.options import Config
from ..data.example_source import ExampleSource
from ..interfaces.dataset import Dataset
from ..interfaces.judge import Judge, JudgedTask, JudgeMessages
from ..interfaces.registry import datasets, judges, tasks
from ..interfaces.task import Task
from ..model.assembly import assemble
from ..processing.render import render

NONSENSE = "\x00 neither"
"""A reply that answers nothing."""


def check_dataset(node: Config, config: Config) -> None:
    """Every sample can be rendered and teaches something."""
    dataset = datasets.build(node)
    assert isinstance(dataset, Dataset)
    assembly = assemble(config)
    source = ExampleSource({node["name"]: dataset}, assembly.adapters, assembly.model.llm.tokenizer, assembly.vision)
    for index in range(len(dataset)):
        example = source.render(dataset[index])
        assert (example.labels >= 0).any(), "a training sample teaches something"


def check_task(node: Config, config: Config) -> None:
    """Every item can be asked; the truth scores 1 and nonsense 0, unless a judge decides that."""
    task = tasks.build(node)
    assert isinstance(task, Task)
    assembly = assemble(config)
    for record in task.records():
        sample = task.sample(record)
        assert sample.messages[-1].role == "user", "a question leaves the answer to the model"
        render(sample, assembly.adapters, assembly.model.llm.tokenizer, reply=True)
        chance = task.chance(record)
        assert chance is None or 0 < chance < 1
        if isinstance(task, JudgedTask):
            continue
        right, wrong = task.score(record, task.answer(record)), task.score(record, NONSENSE)
        assert right.keys() == wrong.keys()
        assert all(abs(score - 1) < 1e-6 for score in right.values()), "the truth scores 1"  # ROUGE-L only nearly
        assert next(iter(wrong.values())) == 0, "nonsense scores 0"
    if isinstance(task, JudgedTask):
        _check_judged(task)


def _check_judged(task: JudgedTask) -> None:
    """A judge is asked about every reply, and an answer out of form gives no score."""
    pairs = task.together([(record, task.answer(record)) for record in task.records()])
    for pair in pairs:
        assert pair is not None, "with all replies at hand, none is alone"
        messages = task.judge(*pair)
        assert messages[-1]["role"] == "user", "a judge is asked something"
    assert task.judgement(NONSENSE) is None, "a judge that does not keep to the form has said nothing"


def check_judge(node: Config, config: Config) -> None:
    """Its identity is the same each time it is built, and asking together changes no answer."""
    judge, again = judges.build(node), judges.build(node)
    assert isinstance(judge, Judge)
    identity = _identity(judge)
    assert identity == _identity(again), "the cache finds a judge again by its identity"
    assert min(judge.batch, judge.num_workers, judge.max_tokens, judge.count("How many tokens?")) >= 1
    question: JudgeMessages = [{"role": "system", "content": "You grade."}, {"role": "user", "content": "Is 1 right?"}]
    if judge.asks:
        assert isinstance(judge.ask(question, 0), str)
        together = judge.ask_batch([question, question], 1)
        assert together[0] == judge.ask(question, 1), "the same question, asked together"
        assert _identity(judge) == identity, "asking changes nothing"
    judge.close()


def _identity(judge: Judge) -> str:
    return json.dumps(dict(judge.identity()), sort_keys=True)


def write_records(folder: Path) -> Path:
    """A small annotation file that every reader of LLaVA records and every question task understands.

    Writes ``records.json``, whose path it returns, and the picture ``grey.png`` into ``folder``.
    """
    Image.fromarray(np.full((20, 30, 3), 99, np.uint8)).save(folder / "grey.png")
    record = {
        "id": "one",
        "image": "grey.png",
        "question": "<image>Which colour?",
        "choices": ["red", "grey"],
        "answer": "B",
        "chosen": "grey",
        "rejected": "red",
        "conversations": [{"from": "human", "value": "<image>\nWhich colour?"}, {"from": "gpt", "value": "grey"}],
    }
    path = folder / "records.json"
    path.write_text(json.dumps([record]))
    return path
