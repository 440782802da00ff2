"""How a run gets the weights that it begins with: the model is built without them, and filled where it trains."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch

from ..checkpoints import find_places, open_checkpoint, read_parts, tie_as_configured, unfilled
from ..core.options import Config
from ..inference.lm import override
from ..interfaces.registry import load_plugins
from ..interfaces.stored_weights import StoredTensor, deferred_places, empty_parameters, later_weights
from ..model.assembly import Assembly, assemble
from ..model.interleaved_model import InterleavedModel
from .lightning_module import LitInterleaved
from .parallelize import FSDP2Strategy
from .parallelize_fill import fill_shards, reshard


@dataclass(frozen=True)
class Start:
    """The weights of a run's first step, for a model whose parameters that lie in files are on the meta device.

    places: where they lie, by native name; None where a checkpoint of the run takes their place: then nothing is read.
    then: what is done with the first weights, before a checkpoint of the run may take their place.
    """

    places: Mapping[str, StoredTensor] | None
    then: Callable[[LitInterleaved], None] | None = None

    def __call__(self, module: LitInterleaved) -> None:
        """Fill the model on the device on which it trains. A collective, which each rank must call. Raises InputError
        of a part that finds its weights unfit."""
        strategy = module.trainer.strategy
        device = strategy.shard_device if isinstance(strategy, FSDP2Strategy) else strategy.root_device
        self.fill(module.model, device)
        if self.then:
            self.then(module)
        reshard(module.model)

    def fill(self, model: InterleavedModel, device: torch.device) -> None:
        """Fill a model; what has memory already stays as it is."""
        fill_shards(model, self.places, device)
        if self.places is not None:
            model.filled()


def initial_model(config: Config, reads: bool) -> tuple[Assembly, Config, Start]:
    """The model that training begins with, the config that describes it, and what gives it its weights.

    Its parts are as composed, or those of the checkpoint ``init``. What no file holds is at its initial values.
    reads: whether ``Start`` reads weights; not where the run goes on from a checkpoint of its own. Raises InputError.
    """
    if not config["init"]:
        with later_weights():
            assembly = assemble(config)
        return assembly, config, Start(deferred_places(assembly.model) if reads else None)
    parts = override(read_parts(config["init"]), config["overrides"])
    load_plugins(parts.get("plugins", ()))  # those that the run was trained with
    with unfilled(), empty_parameters():
        assembly = assemble(parts)
    places: dict[str, StoredTensor] | None = None
    tie_as_configured(assembly.model)
    if reads:
        checkpoint = replace(open_checkpoint(config["init"]), parts=parts)
        places, _ = find_places(assembly.model, checkpoint, torch.float32)
    nodes = {group: parts[group] for group in ("vision_encoder", "projector", "llm", "modality")}
    return assembly, {**config, **nodes}, Start(places)
