"""The Python door: a trained model with its renderer, for notebooks, evaluation and chat."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor

from ..checkpoints import Checkpoint, fill, open_checkpoint, save_weights, unfilled, write_config
from ..core.errors import InputError
from ..core.files import beside
from ..core.sample import Message, Sample
from ..core.types import Batch
from ..interfaces.registry import load_plugins
from ..model.assembly import Assembly, assemble
from ..processing.collate import one_per_row
from ..processing.render import Labels, render
from .generate import generate
from .session import Session


class LM:
    """``model`` is an ``InterleavedModel``; everything that it reads goes through ``batch``."""

    def __init__(
        self, assembly: Assembly, config: Mapping[str, Any], unused: Mapping[str, Tensor] | None = None
    ) -> None:
        """``unused``: weights of the checkpoint that the model does not read, kept for ``save``."""
        self.model, self.adapters, self.vision = assembly.model, assembly.adapters, assembly.vision
        self.config = config
        self.unused = unused or {}

    @property
    def single_picture(self) -> str:
        """The modality in which the model was trained on a picture that is a prompt's only one.

        Runs and published checkpoints say it; where nothing does it is ``multipatch``, as published, if the model has
        that.
        """
        said = self.config.get("single_picture")
        return str(said or next((kind for kind in ("multipatch", "image") if kind in self.adapters), "image"))

    def batch(self, samples: Sequence[Sample], reply: bool = False, labels: Labels = "assistant") -> Batch:
        """One document a row, padded at the end. ``reply`` leaves the assistant's turn open. Raises BadSample.

        labels: what is learned, ``assistant`` (content and its end) or ``published`` (as the released models were
        trained, which also moves a turn's only visual in front of its text).
        """
        examples = [render(s, self.adapters, self.model.llm.tokenizer, reply, labels) for s in samples]
        return one_per_row(examples, self.vision).to(self.model.mean.device)

    def save(self, path: str | Path) -> Path:
        """A folder that ``load`` reads again, on its own; written beside and renamed. Raises InputError."""
        with beside(Path(path)) as folder:
            save_weights(folder, self.model, self.model.state_dict(), self.unused)
            write_config(folder, self.model, self.config)
        return Path(path)

    def reply(self, samples: Sequence[Sample], **generation: Any) -> list[str]:
        """What the model says next in each conversation.

        generation: in the terms of Transformers' ``generate``: max_new_tokens, num_beams, temperature, top_p, top_k,
        repetition_penalty, stop_strings, ...; and ``seed``. Greedy unless temperature, top_p or top_k is given.
        """
        return generate(self.model, self.batch(samples, reply=True), **generation)

    def chat(self, turns: Sequence[Message] | str, **generation: Any) -> str:
        """The model's next turn in a conversation; a string is one question without pictures."""
        asked = [Message("user", [turns])] if isinstance(turns, str) else turns
        return self.reply([Sample(asked)], **generation)[0]

    def stream(self, turns: Sequence[Message] | str, **generation: Any) -> Generator[str, None, None]:
        """The same, in pieces as they come."""
        asked = [Message("user", [turns])] if isinstance(turns, str) else list(turns)
        session = self.session()
        session.messages = asked[:-1]
        return session.stream(asked[-1], **generation)

    def session(self) -> Session:
        """A conversation that keeps what it has computed: ``session().ask("...")``, again and again."""
        return Session(self.model, self.adapters, self.vision)


def load(path: str | Path, overrides: Sequence[str] = (), dtype: torch.dtype | None = None) -> LM:
    """A model in evaluation mode, on a GPU where there is one.

    path: a run's folder, or a checkpoint in the original layout or in those of Transformers' ``llava`` and
    ``llava_onevision``, as a folder or as a name on the hub. overrides: of the parts' options,
    ``["modality.video.num_frames=16"]``. dtype: of the weights; None keeps the file's. Raises InputError.
    """
    lm = read(open_checkpoint(path), overrides, dtype)
    lm.model.to("cuda" if torch.cuda.is_available() else "cpu")
    return lm


def read(checkpoint: Checkpoint, overrides: Sequence[str] = (), dtype: torch.dtype | None = None) -> LM:
    """An opened checkpoint -> its model, on the CPU."""
    checkpoint = replace(checkpoint, parts=override(checkpoint, overrides))
    load_plugins(checkpoint.parts.get("plugins", ()))
    with unfilled():
        assembly = assemble(checkpoint.parts)
    unused = fill(assembly.model, checkpoint, dtype)
    assembly.model.eval()
    native = {file: name for name, file in unused.items()}
    kept = {native[name]: tensor for name, tensor in checkpoint.tensors.read(list(native))}
    return LM(assembly, checkpoint.parts, kept)


def override(checkpoint: Checkpoint, overrides: Sequence[str]) -> dict[str, Any]:
    """The checkpoint's config nodes with ``part.option=value`` changes. Raises InputError for an unknown part."""
    changed = OmegaConf.merge(OmegaConf.create(checkpoint.parts), OmegaConf.from_dotlist(list(overrides)))
    container = OmegaConf.to_container(changed, resolve=True)
    assert isinstance(container, dict)
    unknown = sorted(str(key) for key in container.keys() - checkpoint.parts.keys())
    if unknown:
        known = ", ".join(sorted(checkpoint.parts))
        raise InputError(f"{checkpoint.folder} has no part {unknown[0]!r}; it has {known}")
    return {str(k): v for k, v in container.items()}
