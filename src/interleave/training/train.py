"""A training run from a composed config to a folder that can be loaded, evaluated and talked to."""

import logging
import os
import shlex
import shutil
import sys
import time
from collections.abc import Mapping
from itertools import starmap
from pathlib import Path
from typing import Any

import torch
import wandb
from lightning import seed_everything
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn

from ..checkpoints import open_checkpoint, save_weights, write_config
from ..core.errors import BadSample
from ..core.options import check
from ..core.sample import Media
from ..core.types import Example
from ..data.build import build_data
from ..data.datamodule import InterleavedData
from ..evaluation import model_fingerprint as identity
from ..evaluation.build import build_tasks
from ..evaluation.evaluate import Evaluation
from ..evaluation.runner import Settings
from ..inference.lm import load, read
from ..interfaces.task import Task
from ..model.assembly import Assembly, assemble
from ..reports.page import write_report
from ..reports.read_runs import read_runs
from ..training import parallelize
from .build import build_module, build_stage, build_trainer
from .dpo import DPO, References
from .evaluation_callback import Period, PeriodicEvaluation
from .lightning_module import LitInterleaved
from .lora import LEARNS, merged, save_adapter
from .optimizer import parts
from .run_folder import begin, resume_from

for name in ("lightning.pytorch", "lightning.fabric"):  # they set their own level when they are imported
    logging.getLogger(name).setLevel(logging.WARNING)


def train(config: Mapping[str, Any]) -> Path:
    """Train, save and, where tasks are chosen, evaluate and report. Returns the run's folder. Raises InputError."""
    run, started = Path(config["run"]), time.time()
    resume, composed = resume_from(config), config
    seed_everything(config["seed"], workers=True, verbose=False)
    assembly, config = start(config)
    tasks = build_tasks(config)
    data, dpo = build_data(config, assembly), build_stage(config).dpo
    config = {**config, "single_picture": config["single_picture"] or data.train.source.single_picture() or None}
    if dpo:  # before adapters change the model's names
        refer(data, assembly, dpo)
    module = build_module(config, assembly.model)
    period = check("evaluate", config["evaluate"], Period)
    trainer = build_trainer(config, [PeriodicEvaluation(period, tasks, assembly)] if period.every else [])
    if trainer.is_global_zero:
        begin(composed, config)
        if resume:
            Console().print(f"going on from {resume}", soft_wrap=True, highlight=False)
        if not resume:
            data.train.ledger.rewrite()  # an earlier run of this folder's
        Console().print(parts_table(module))
    trainer.fit(module, datamodule=data, ckpt_path=str(resume) if resume else None, weights_only=True)
    if trainer.checkpoint_callback:
        trainer.save_checkpoint(run / "checkpoints" / "last.ckpt")
    module.check_finite()
    if wandb.run is not None:  # the next job of a sweep in this process is a run of its own
        wandb.finish()
    state, ledger = parallelize.full_state(module.model), data.ledger()
    if not trainer.is_global_zero:
        return run
    save(run, config, module, state)
    console = Console()
    ledger.rewrite()
    if summary := ledger.summary():
        console.print(f"[yellow]{summary}; all in {ledger.path}", soft_wrap=True)
    if tasks:
        evaluation = Evaluation(tasks, run, identity.of_folder(run), Settings(batch=config["eval_batch"]))
        evaluation.ask(lambda: load(run), overwrite=True, ranks=(0, 1))
        evaluation.show(evaluation.finish(None, {"model": str(run), "overrides": []}))
        report = write_report(read_runs([run]), run, tasks, seconds=time.time() - started)
        console.print(f"report: {report}", soft_wrap=True)
    console.print(f"model:  {run}\nchat:   {line_to_chat(run, tasks)}", soft_wrap=True, markup=False, highlight=False)
    return run


def start(config: Mapping[str, Any]) -> tuple[Assembly, Mapping[str, Any]]:
    """The model to train: parts as composed, or those of ``init`` with its weights; and the config that says so."""
    if not config["init"]:
        return assemble(config), config
    lm = read(open_checkpoint(config["init"]), config["overrides"], dtype=torch.float32)
    own = {group: lm.config[group] for group in ("vision_encoder", "projector", "llm", "modality")}
    return Assembly(lm.model.train(), lm.adapters, lm.vision), {**config, **own}


def refer(data: InterleavedData, assembly: Assembly, dpo: DPO) -> None:
    """Give every pair its log-probabilities under the weights that training begins with, known or computed now."""
    references, console = References.of(Path(dpo.cache), assembly.model), Console(stderr=True)
    assembly.model.to(f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu")
    for loader in data.loaders():
        numbers = [(name, i) for name, dataset in loader.source.datasets.items() for i in range(len(dataset))]
        examples = starmap(loader.source.example, track(numbers, "references", console=console))
        count = references.compute((e for e in examples if isinstance(e, Example)), assembly.model, assembly.vision)
        loader.refer(references)
        console.print(f"references: {count} computed, all kept in {references.path}", soft_wrap=True)
    assembly.model.to("cpu")


def save(run: Path, config: Mapping[str, Any], module: LitInterleaved, state: Mapping[str, Tensor]) -> None:
    """What was learned, as a folder that can be loaded without anything else; adapters merged, and by themselves."""
    model, lora = module.model, module.stage.lora
    if lora:
        save_adapter(run / "adapter", state, lora)
        state = merged(model, state, lora)
    save_weights(run, model, state)
    write_config(run, model, config)


def line_to_chat(run: Path, tasks: Mapping[str, Task]) -> str:
    """A line to copy: it asks the first item of a task, where that can be read and lies in files."""
    for task, record in ((t, r) for t in tasks.values() for r in t.records()[:1]):
        try:
            parts = task.sample(record).messages[-1].content
        except BadSample:  # named among the items that could not be asked
            continue
        media = [part for part in parts if isinstance(part, Media)]
        if all(isinstance(m.data, (str, Path)) for m in media):
            question = "".join(part for part in parts if isinstance(part, str)).strip()
            shown = [f"{m.kind}:{m.data}" for m in media]
            return shlex.join([*program(), "chat", str(run), *shown, question])
    return f"{shlex.join(program())} chat {run} PICTURE QUESTION"


def program() -> list[str]:
    """The words by which this program is started from here: in an environment that is not on PATH by its Python."""
    if shutil.which("interleave"):
        return ["interleave"]
    here = Path(sys.executable)
    return [str(here.relative_to(Path.cwd()) if here.is_relative_to(Path.cwd()) else here), "-m", "interleave.cli"]


def parts_table(module: LitInterleaved) -> Table:
    """What learns, and how fast."""
    drawn = Table(title="parts")
    for column in ("part", "parameters", "trained", "learning rate"):
        drawn.add_column(column, justify="left" if column == "part" else "right")
    for part, parameters in parts(module.model).items():
        for name, chosen in _with_adapters(part, parameters):
            count = sum(p.numel() for p in chosen)
            trained = sum(p.numel() for p in chosen if p.requires_grad)
            rate = f"{module.stage.rate(part):g}" if trained else "frozen"
            drawn.add_row(name, f"{count:,}", f"{trained:,}", rate if count else "")
    return drawn


def _with_adapters(part: str, parameters: Mapping[str, nn.Parameter]) -> list[tuple[str, list[nn.Parameter]]]:
    """A part's row of the table, and one more for its adapters, where it has some."""
    adapters = [p for name, p in parameters.items() if LEARNS in name]
    own = [p for name, p in parameters.items() if LEARNS not in name]
    return [(part, own), (f"{part} adapters", adapters)] if adapters else [(part, own)]
