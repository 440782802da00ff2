"""Run by torchrun in test_sharding.py: trainings of a model that is sharded in several ways, then what they learned.

torchrun --nproc-per-node 2|4 sharding_job.py FILE
"""

import os
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypedDict
from unittest.mock import patch

import torch
from full_weights import full_state
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy, Strategy
from parallel_job import Losses, batches, posed_config
from small_models import rendered, some_samples, talk
from torch import Tensor
from torch.distributed.fsdp._fully_shard import _fsdp_param_group as param_group
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from interleave import Message, Sample
from interleave.core.collectives import global_rank
from interleave.core.types import Batch
from interleave.model import loss
from interleave.model.assembly import Assembly, assemble
from interleave.processing.collate import collate, join_pair
from interleave.training import lightning_module, parallelize
from interleave.training.compilation import compile_blocks, compiled_graphs
from interleave.training.dpo import DPO
from interleave.training.lightning_module import LitInterleaved
from interleave.training.lora import Lora
from interleave.training.optimizer import PARTS, Stage
from interleave.training.parallelize import TOWERS, CheckpointMode
from interleave.training.parallelize_units import DEFAULT_SHARDING, Sharding
from interleave.training.small_states import SmallStates
from interleave.training.start import Start
from interleave.training.step_sums import StepSums

QWEN = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_key_value_heads": 2}
UNTIED = {"name": "qwen2", "config": {**QWEN, "num_hidden_layers": 3, "tie_word_embeddings": False}}
"""A language model whose embedding and head are two tensors; those of ``tiny`` are one."""


NUM_BATCHES = 16
"""In one pass over the data: each costs the tests seconds, whatever its size."""


@dataclass(frozen=True)
class Case:
    """A training. The batches of all ranks and micro-batches of a step are the same whatever shares them out.

    sharding: None for DDP. frozen: parts that do not learn. tied: embedding and head are one tensor. micro_batches: of
    all ranks together in a step. epochs: how often the batches are seen. kept: how activations are checkpointed.
    by_document: the loss is added up from those of documents, whose head works in chunks of 7 tokens. dpo: preferences
    are learned. compiled: blocks are traced, and their graphs run by torch's operators. states: of AdamW.
    """

    sharding: Sharding | None = DEFAULT_SHARDING
    frozen: tuple[str, ...] = ()
    tied: bool = True
    micro_batches: int = 2
    epochs: int = 1
    lora: bool = False
    kept: CheckpointMode | None = "full"
    by_document: bool = False
    dpo: bool = False
    compiled: bool = False
    states: SmallStates | None = None

    def unsharded(self) -> "Case":
        """The same training by one process: cases that differ only in what is shared out are one."""
        return replace(self, sharding=None, kept=None, compiled=False)


CASES = {
    "tied embeddings, two blocks ahead": Case(Sharding(prefetch=2)),
    "chunks, of which ranks have different numbers": Case(tied=False, by_document=True),
    "two tensors, accumulated": Case(micro_batches=4, epochs=2, tied=False),
    "accumulated, fewer at the end": Case(micro_batches=6, epochs=2, tied=False),
    "accumulated by DDP": Case(None, micro_batches=4, epochs=2, tied=False),
    "frozen vision, adapters, kept after forward": Case(
        Sharding(reshard_after_forward=False), ("vision_encoder",), tied=False, lora=True, kept=None
    ),
    "frozen vision replicated, offload": Case(Sharding(frozen="replicate", offload=True), ("vision_encoder",)),
    "frozen towers": Case(frozen=("vision_encoder", "llm", "newline")),
    "frozen towers replicated": Case(Sharding(frozen="replicate"), ("vision_encoder", "llm", "newline")),
    "replicas": Case(Sharding(replicate=2)),
    "replicas, each micro-batch": Case(Sharding(replicate=2, sync_each_micro_batch=True), micro_batches=4, epochs=2),
    "compiled, recomputed": Case(compiled=True, micro_batches=4, epochs=2),
    "compiled, recomputed in part, adapters": Case(
        frozen=("vision_encoder",), tied=False, lora=True, kept="selective", compiled=True
    ),
    "moments in bfloat16, offload": Case(Sharding(offload=True), states="bfloat16"),
    "moments of 8 bits": Case(tied=False, states="8bit"),
}
FOUR_RANKS = {
    "replicas of shards": Case(Sharding(replicate=2), micro_batches=4, epochs=2, tied=False),
    "replicas of shards, each micro-batch": Case(
        Sharding(replicate=2, sync_each_micro_batch=True), micro_batches=8, epochs=2
    ),
    "shared by two after forward": Case(Sharding(reshard_after_forward=2), micro_batches=4, epochs=2),
}


class ByDocument(LitInterleaved):
    """Adds up the losses of documents, as preferences are learned."""

    def objective(self, batch: Batch) -> StepSums:
        sums, counts = self.model.document_losses(batch)
        return StepSums.of_tokens(sums.sum(), counts.sum())


class Gradients(Callback):
    """Counts in ``reduced`` the backward passes after which DDP reduced gradients, and keeps in ``norms`` those of each
    step: of all gradients together, and of each part's as it is logged."""

    def __init__(self) -> None:
        self.reduced = 0
        self.norms: list[dict[str, float]] = []

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        model = trainer.strategy.model
        self.reduced += isinstance(model, DistributedDataParallel) and model.require_backward_grad_sync

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        self.norms.append({"all": parallelize.gradient_norm(pl_module.parameters()).item()})

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        if self.norms:  # else the batch was a micro-batch within the first step
            logged = trainer.callback_metrics.items()
            self.norms[-1] |= {name: value.item() for name, value in logged if name.startswith("grad/")}


class Learned(TypedDict):
    """losses, norms: of all steps, these of gradients. hidden: the trained model's hidden states of the first batch.
    weights: by name, whole on rank 0. gathers, reduces: how many all-gathers of FSDP2 there were, and how often it, or
    DDP, reduced gradients. graphs: how many were compiled.
    """

    losses: list[float]
    norms: list[dict[str, float]]
    hidden: Tensor
    weights: dict[str, Tensor]
    gathers: int
    reduces: int
    graphs: int


def begin(case: Case) -> tuple[LitInterleaved, list[Batch]]:
    """What learns as the case says, and the micro-batches of all ranks in one pass over the data."""
    torch.manual_seed(0)
    config = posed_config()
    if not case.tied:
        config["llm"] = UNTIED
    assembly = assemble(config)
    rates: dict[str, float | None] = dict.fromkeys(PARTS, 1e-3)
    stage = Stage(
        rates | dict.fromkeys(case.frozen), weight_decay=0.1, lora=Lora(rank=2) if case.lora else None,
        dpo=DPO() if case.dpo else None, optimizer_states=case.states,
    )  # fmt: skip
    shape = ByDocument if case.by_document else LitInterleaved
    kept = dict.fromkeys(TOWERS, case.kept) if case.kept else None
    # as in a run: all weights are there, so nothing is read, and the parts are told so
    module = shape(assembly.model, stage, kept, Start({}), case.compiled)
    return module, pairs(assembly) if case.dpo else batches(assembly, 1)[0][:NUM_BATCHES]


def pairs(assembly: Assembly) -> list[Batch]:
    """Batches of one row with a preferred and a rejected reply; every other one shows a picture."""
    made: list[Batch] = []
    for i, question in enumerate(some_samples(assembly) * 3):
        asked = question.messages[:1] if i % 2 else talk("what?").messages[:1]
        replies = (Sample([*asked, Message("assistant", [text])]) for text in ("good " * (i % 4 + 1), f"bad {i}"))
        pair = replace(join_pair(*rendered(assembly, list(replies))), reference=(-20.0, -15.0))
        made.append(collate([[pair]], 350, assembly.vision))
    return made[:NUM_BATCHES]


def strategy_of(sharding: Sharding | None, ranks: int) -> str | Strategy:
    """Of Lightning's trainer; sharding: None for DDP."""
    if ranks == 1:
        return "auto"
    return parallelize.FSDP2Strategy(sharding) if sharding else DDPStrategy(process_group_backend="gloo")


def train(case: Case, ranks: int) -> Learned:
    """What a training of the case leaves; ``ranks`` of 1 is a process alone, which shards nothing."""
    module, every = begin(case)
    losses, gradients, before = Losses(), Gradients(), compiled_graphs()
    trainer = Trainer(
        accelerator="cpu", devices=ranks, strategy=strategy_of(case.sharding, ranks), max_epochs=1,
        gradient_clip_val=0.5, accumulate_grad_batches=case.micro_batches // ranks, logger=False, log_every_n_steps=1,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        use_distributed_sampler=False, callbacks=[losses, gradients],
    )  # fmt: skip
    every = every * case.epochs
    own = every[trainer.global_rank :: ranks]
    with (
        patch.object(param_group, "foreach_all_gather", wraps=param_group.foreach_all_gather) as gathers,
        patch.object(param_group, "foreach_reduce", wraps=param_group.foreach_reduce) as reduces,
        patch.object(loss, "token_losses", partial(loss.token_losses, chunk=7)),
        patch.object(lightning_module, "compile_blocks", partial(compile_blocks, backend="aot_eager")),
    ):
        trainer.fit(module, DataLoader(own, batch_size=None, collate_fn=lambda b: b))  # type: ignore[arg-type]
    assert parallelize.not_finite(module.model) == []
    with parallelize.unsharded(module.model), torch.no_grad():
        hidden = module.model.eval().hidden(every[0])  # by each rank for itself, as when tasks are asked
    return {
        "losses": losses.seen,
        "norms": gradients.norms,
        "hidden": hidden,
        "weights": full_state(module.model),
        "gathers": gathers.call_count,
        "reduces": reduces.call_count + gradients.reduced,
        "graphs": compiled_graphs() - before,
    }


if __name__ == "__main__":
    ranks = int(os.environ["WORLD_SIZE"])
    learned = {}
    for name, case in (CASES if ranks == 2 else FOUR_RANKS).items():
        print(name, flush=True)  # what fails is then the last one named
        learned[name] = train(case, ranks)
    if global_rank() == 0:
        torch.save(learned, Path(sys.argv[1]))
