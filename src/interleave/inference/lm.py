"""A trained model in Python: loaded, asked, streamed and saved, for notebooks, evaluation and chat."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from omegaconf import OmegaConf
from torch import Tensor

from ..checkpoints import Checkpoint, Parts, fill, open_checkpoint, save_weights, unfilled, write_config
from ..core.errors import InputError
from ..core.files import new_folder
from ..core.options import Config
from ..core.sample import Message, Sample
from ..core.types import Batch
from ..interfaces.registry import load_plugins
from ..model.assembly import Assembly, assemble
from ..processing.collate import one_per_row
from ..processing.render import Labels, render
from .generate import generate
from .session import Session


class LM:
    """A model with what turns samples into its batches.

    ``model`` is an ``InterleavedModel``, ``adapters`` the modalities by name, without weights, and ``vision`` what they
    know of the vision encoder.
    """

    def __init__(self, assembly: Assembly, config: Config, unused: Mapping[str, Tensor] | None = None) -> None:
        """config: the nodes that the assembly was built from. unused: weights of a checkpoint that the model does not
        read, by name; ``save`` writes them again."""
        self.model, self.adapters, self.vision = assembly.model, assembly.adapters, assembly.vision
        self.config = config
        self.unused = unused or {}

    @property
    def single_picture(self) -> str:
        """The modality in which the model was trained on a picture that is a prompt's only one.

        Runs and published checkpoints say it in their config. Where nothing does it is ``multipatch``, as published, if
        the model has that.
        """
        configured = self.config.get("single_picture")
        if configured:
            return str(configured)
        return "multipatch" if "multipatch" in self.adapters else "image"

    def batch(self, samples: Sequence[Sample], reply: bool = False, labels: Labels = "assistant") -> Batch:
        """Samples as a batch on the model's device: one document a row, padded at the end. Raises BadSample.

        reply: leave the assistant's next turn open, for generation.
        labels: what is learned, ``assistant`` (content and its end) or ``published`` (as the released models were
            trained, which also moves a turn's only visual in front of its text).
        """
        examples = [render(s, self.adapters, self.model.llm.tokenizer, reply, labels) for s in samples]
        return one_per_row(examples, self.vision).to(self.model.mean.device)

    def save(self, path: str | Path) -> Path:
        """Write a folder that ``load`` reads again, on its own. Raises InputError where the folder is not empty.

        It is written beside and renamed, so that it is never there by half.
        """
        with new_folder(Path(path)) as folder:  # renamed to ``path`` at the end
            save_weights(folder, self.model, self.model.state_dict(), self.unused)
            write_config(folder, self.model, self.config)
        return Path(path)

    def reply(self, samples: Sequence[Sample], **generation: object) -> list[str]:
        """What the model says next in each conversation. Raises BadSample, and InputError for an unknown option.

        generation: in the terms of Transformers' ``generate``: max_new_tokens, num_beams, temperature, top_p, top_k,
        repetition_penalty, stop_strings, ...; and ``seed``. Greedy unless temperature, top_p or top_k is given.
        """
        return generate(self.model, self.batch(samples, reply=True), **generation)

    def chat(self, turns: Sequence[Message] | str, **generation: object) -> str:
        """The model's next turn in one conversation; a string is one question without pictures. Raises as ``reply``."""
        return self.reply([Sample(_messages(turns))], **generation)[0]

    def stream(self, turns: Sequence[Message] | str, **generation: object) -> Generator[str, None, None]:
        """As ``chat``, in pieces as they come."""
        *before, question = _messages(turns)  # the session adds the question and the reply itself
        session = self.session()
        session.messages = before
        return session.stream(question, **generation)

    def session(self) -> Session:
        """A conversation that keeps what it has computed: ``session().ask("...")``, again and again."""
        return Session(self.model, self.adapters, self.vision)


def _messages(turns: Sequence[Message] | str) -> list[Message]:
    return [Message("user", [turns])] if isinstance(turns, str) else list(turns)


def load(path: str | Path, overrides: Sequence[str] = (), dtype: torch.dtype | None = None) -> LM:
    """A model in evaluation mode, on a GPU where there is one. Raises InputError.

    path: a run's folder, or a checkpoint in the original layout or in those of Transformers' ``llava`` and
        ``llava_onevision``, as a folder or as a name on the hub.
    overrides: changed options of the parts, such as ``["modality.video.num_frames=16"]``.
    dtype: of the weights; None keeps the file's.
    """
    lm = read_model(open_checkpoint(path), overrides, dtype)
    lm.model.to("cuda" if torch.cuda.is_available() else "cpu")
    return lm


def read_model(checkpoint: Checkpoint, overrides: Sequence[str] = (), dtype: torch.dtype | None = None) -> LM:
    """The model of an opened checkpoint, on the CPU and in evaluation mode; arguments and errors as in ``load``."""
    checkpoint = replace(checkpoint, parts=override(checkpoint.parts, overrides))
    load_plugins(checkpoint.parts.get("plugins", ()))  # those that the run was trained with
    with unfilled():  # no initial weights are drawn: ``fill`` puts those of the file in their place
        assembly = assemble(checkpoint.parts)
    unused = fill(assembly.model, checkpoint, dtype)  # native name -> the file's
    assembly.model.eval()
    native_of = {file_name: native for native, file_name in unused.items()}
    unused_weights = {native_of[name]: tensor for name, tensor in checkpoint.tensors.read(list(native_of))}
    return LM(assembly, checkpoint.parts, unused_weights)


def override(parts: Parts, overrides: Sequence[str]) -> Parts:
    """A model's config nodes with ``part.option=value`` changes. Raises InputError for an unknown part."""
    changed = OmegaConf.merge(OmegaConf.create(parts), OmegaConf.from_dotlist(list(overrides)))
    container = OmegaConf.to_container(changed, resolve=True)
    assert isinstance(container, dict)
    # an option's name is checked by the part itself, when it is built
    unknown = sorted(str(key) for key in container.keys() - parts.keys())
    if unknown:
        raise InputError(f"the model has no part {unknown[0]!r}; it has {', '.join(sorted(parts))}")
    return {str(key): node for key, node in container.items()}
