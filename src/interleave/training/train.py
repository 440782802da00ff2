"""A training run from a composed config to a folder that can be loaded, evaluated and talked to."""

import gc
import logging
import shlex
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import wandb
from lightning import Trainer, seed_everything
from rich.console import Console
from rich.table import Table
from torch import nn

from ..checkpoints import write_config
from ..core.collectives import barrier, global_rank, patient
from ..core.errors import BadSample
from ..core.options import Config, check_option
from ..core.sample import Media
from ..data.build import build_data
from ..data.datamodule import InterleavedData
from ..data.ledger import Ledger
from ..evaluation import model_fingerprint
from ..evaluation.build import build_tasks
from ..evaluation.evaluate import Evaluation
from ..evaluation.runner import Settings
from ..inference.lm import load
from ..interfaces.task import Task
from ..model.assembly import Assembly
from ..reports.page import write_report
from ..reports.read_runs import read_runs
from .build import build_module, build_stage, build_trainer, choose_loss_head
from .checkpoint_files import META
from .dpo import DPO
from .evaluation_callback import Period, PeriodicEvaluation
from .lightning_module import LitInterleaved
from .lora import ADAPTER_MARK
from .optimizer import parts
from .references import references_of, set_references
from .run_folder import begin, resume_from
from .start import Start, initial_model
from .weight_export import ExportOptions, export_weights

for name in ("lightning.pytorch", "lightning.fabric"):  # they set their own level when they are imported
    logging.getLogger(name).setLevel(logging.WARNING)


def train(config: Config) -> Path:
    """Train, save and, where tasks are chosen, evaluate and report. Returns the run's folder. Raises InputError.

    Every rank calls it. What the config says wrongly is refused before the run's folder is touched.
    """
    run, started = Path(config["run"]), time.time()
    learned = learn(config)
    gc.collect()  # model, optimiser and trainer, which refer to each other: their memory is the evaluation's now
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    report = None
    if learned.tasks:
        report = evaluate_and_report(run, learned, config["eval_batch"], started)
    if global_rank():
        return run
    console, ledger = Console(), learned.ledger
    if summary := ledger.summary():
        console.print(f"[yellow]{summary}; all in {ledger.path}", soft_wrap=True)
    if report:
        console.print(f"report: {report}", soft_wrap=True)
    line = chat_line(run, learned.tasks)
    console.print(f"model:  {run}\nchat:   {line}", soft_wrap=True, markup=False, highlight=False)
    return run


@dataclass(frozen=True)
class Learned:
    """What is left of a training beside the run's folder.

    tasks: the chosen ones. ledger: of all ranks. dtype: in which the model is to be asked; None: as it is stored.
    """

    tasks: Mapping[str, Task]
    ledger: Ledger
    dtype: torch.dtype | None


def learn(config: Config) -> Learned:
    """Train, and write what was learned as a folder that can be loaded without anything else. A collective.

    Nothing that is returned refers to the model. Raises InputError.
    """
    resume, composed = resume_from(config), config  # ``config`` comes to describe the model, ``composed`` stays
    dtype = check_option("export", config["export"], ExportOptions).dtype_after(config["init"], resume)
    seed_everything(config["seed"], workers=True, verbose=False)  # before initial weights are drawn
    stage = build_stage(config)
    quantizes = stage.lora is not None and stage.lora.quantize is not None
    # references and 4-bit layers are made of the weights that training began with
    assembly, config, start = initial_model(config, reads=stage.dpo is not None or quantizes or not resume)
    tasks = build_tasks(config)
    data = build_data(config, assembly)
    single = config["single_picture"] or data.train.source.single_picture() or None
    config = {**config, "single_picture": single, "export": {"dtype": str(dtype).removeprefix("torch.")}}
    if stage.dpo:  # before adapters change the names of the weights, by which references are kept
        start = _with_references(start, stage.dpo, assembly, data, config)
    if quantizes:
        start.fill(assembly.model, torch.device("cpu"))
    module = build_module(config, assembly.model, start)
    choose_loss_head(config, module)
    period = check_option("evaluate", config["evaluate"], Period)
    trainer = build_trainer(config, [PeriodicEvaluation(period, tasks, assembly)] if period.every else [])
    if trainer.is_global_zero:
        _open_run(composed, config, resume, data)
        Console().print(parts_table(module))
    fit(trainer, module, data, resume)
    for optimizer in trainer.optimizers:
        optimizer.state.clear()  # its memory is the export's now
    ledger = _leave_model(module, data, config, dtype)
    return Learned(tasks, ledger, torch.bfloat16 if module.computes_in_bf16 else None)


def _with_references(start: Start, dpo: DPO, assembly: Assembly, data: InterleavedData, config: Config) -> Start:
    """The same start, after which the references of all pairs are known. Raises InputError."""
    references = references_of(Path(dpo.cache), assembly.model, start.places, data, config)
    return replace(start, then=lambda module: set_references(data, references, module, assembly.vision))


def _open_run(composed: Config, config: Config, resume: Path | None, data: InterleavedData) -> None:
    """Make the run's folder ready, by rank 0. Arguments as in ``begin``; resume: what training goes on from."""
    begin(composed, config)
    if resume:
        Console().print(f"going on from {resume}", soft_wrap=True, highlight=False)
    else:
        data.train.ledger.rewrite()  # empties that of an earlier run in this folder


def _leave_model(module: LitInterleaved, data: InterleavedData, config: Config, dtype: torch.dtype) -> Ledger:
    """Write what was learned, and the ledger of all ranks, into the run's folder. A collective. Returns the ledger."""
    run, ledger = Path(config["run"]), data.ledger()
    export_weights(run, module.model, module.stage.lora, dtype)
    if global_rank() == 0:
        write_config(run, module.model, config)
        ledger.rewrite()
    barrier()  # the folder is complete
    return ledger


def fit(trainer: Trainer, module: LitInterleaved, data: InterleavedData, resume: Path | None) -> None:
    """Train to the last step. Raises InputError for weights that are not finite. A collective."""
    # weights_only: a checkpoint that someone else made cannot run code
    trainer.fit(module, datamodule=data, ckpt_path=str(resume / META) if resume else None, weights_only=True)
    module.restore()  # of a run that had no step left
    module.check_finite()
    if wandb.run is not None:  # the next job of a sweep in this process is a run of its own
        wandb.finish()


def evaluate_and_report(run: Path, learned: Learned, batch_size: int, started: float) -> Path | None:
    """Ask the saved model all tasks, by all ranks together; rank 0 prints the results and writes the report, whose path
    it returns.

    started: when the run began, in seconds since the epoch.
    """
    settings = Settings(batch=batch_size)
    evaluation = Evaluation(learned.tasks, run, model_fingerprint.of_folder(run), settings)
    with patient():
        evaluation.ask(lambda: load(run, dtype=learned.dtype), overwrite=True)
    if global_rank():
        return None
    evaluation.show(evaluation.finish(None, {"model": str(run), "overrides": []}))
    return write_report(read_runs([run]), run, learned.tasks, seconds=time.time() - started)


def chat_line(run: Path, tasks: Mapping[str, Task]) -> str:
    """A command line to copy that asks the model the first item of a task; a pattern of one where no task's first item
    can be read and lies in files."""
    for task in tasks.values():
        for record in task.records()[:1]:
            try:
                content = task.sample(record).messages[-1].content
            except BadSample:  # named among the items that could not be asked
                continue
            media = [part for part in content if isinstance(part, Media)]
            if all(isinstance(piece.data, (str, Path)) for piece in media):
                question = "".join(part for part in content if isinstance(part, str)).strip()
                paths = [f"{piece.kind}:{piece.data}" for piece in media]
                return shlex.join([*program(), "chat", str(run), *paths, question])
    return f"{shlex.join(program())} chat {run} PICTURE QUESTION"


def program() -> list[str]:
    """The words that start this program from the working directory: ``interleave`` where it is on PATH, else this
    Python with the module."""
    if shutil.which("interleave"):
        return ["interleave"]
    python = Path(sys.executable)
    if python.is_relative_to(Path.cwd()):  # shorter, and as good from this directory
        python = python.relative_to(Path.cwd())
    return [str(python), "-m", "interleave.cli"]


def parts_table(module: LitInterleaved) -> Table:
    """A table of the model's parts: their parameters, how many of them are trained, and at which peak rate."""
    table = Table(title="parts")
    for column in ("part", "parameters", "trained", "learning rate"):
        table.add_column(column, justify="left" if column == "part" else "right")
    for part, parameters in parts(module.model).items():
        for row_name, members in _rows_of_part(part, parameters).items():
            count = sum(p.numel() for p in members)
            trained = sum(p.numel() for p in members if p.requires_grad)
            rate = f"{module.stage.rate(part):g}" if trained else "frozen"
            # a part without parameters is neither trained nor frozen
            table.add_row(row_name, f"{count:,}", f"{trained:,}", rate if count else "")
    return table


def _rows_of_part(part: str, parameters: Mapping[str, nn.Parameter]) -> dict[str, list[nn.Parameter]]:
    """A part's row of the table, and one more for its LoRA adapters, where it has some."""
    adapters = [parameter for name, parameter in parameters.items() if ADAPTER_MARK in name]
    own = [parameter for name, parameter in parameters.items() if ADAPTER_MARK not in name]
    return {part: own, f"{part} adapters": adapters} if adapters else {part: own}
