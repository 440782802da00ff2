"""The Python door: a trained model with its renderer, for notebooks, evaluation and chat."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from .build import Assembly, assemble
from .checkpoint import load_config, load_weights
from .collate import one_per_row
from .generate import generate
from .registry import load_plugins
from .render import render
from .sample import Sample, Turn
from .types import Batch, InputError


class LM:
    """``model`` is an ``InterleavedModel``; everything that it reads goes through ``batch``."""

    def __init__(self, assembly: Assembly, config: Mapping[str, Any]) -> None:
        self.model, self.adapters, self.vision = assembly.model, assembly.adapters, assembly.vision
        self.config = config

    def batch(self, samples: Sequence[Sample], reply: bool = False) -> Batch:
        """One document a row. ``reply`` leaves the assistant's turn open. Raises BadSample."""
        examples = [render(s, self.adapters, self.model.llm.chat, reply) for s in samples]
        return one_per_row(examples, self.vision).to(self.model.mean.device)

    def reply(self, samples: Sequence[Sample], **generation: Any) -> list[str]:
        """What the model says next in each conversation. ``generation``: as for Transformers' ``generate``."""
        return generate(self.model, self.batch(samples, reply=True), **generation)

    def chat(self, turns: Sequence[Turn] | str, **generation: Any) -> str:
        """The model's next turn in a conversation; a string is one question without pictures."""
        asked = [Turn("user", [turns])] if isinstance(turns, str) else turns
        return self.reply([Sample(asked)], **{"max_new_tokens": 256, **generation})[0]


def load(path: str | Path, overrides: Sequence[str] = ()) -> LM:
    """A run's folder -> its model, in evaluation mode, on a GPU where there is one.

    overrides: of the parts' options, ``["modality.video.frames=16"]``. Raises InputError.
    """
    config = load_config(Path(path))
    load_plugins(config.get("plugins", ()))
    changed = OmegaConf.merge(OmegaConf.create(config), OmegaConf.from_dotlist(list(overrides)))
    container = OmegaConf.to_container(changed, resolve=True)
    assert isinstance(container, dict)
    unknown = container.keys() - config.keys()
    if unknown:
        raise InputError(f"{path} has no part {sorted(map(str, unknown))[0]!r}; it has {', '.join(sorted(config))}")
    parts = {str(k): v for k, v in container.items()}
    assembly = assemble(parts)
    load_weights(Path(path), assembly.model)
    assembly.model.eval().to("cuda" if torch.cuda.is_available() else "cpu")
    return LM(assembly, parts)
