"""Gemma 1, 2 and 3: the text models, and the text part of Gemma 3's models with pictures."""

from interleave import llms

from ..base.hf_models import Options
from .base.causal_lm import CausalLM, build_model, load_chat
from .base.families import FAMILIES

FAMILY = FAMILIES["gemma"]


@llms.register("gemma")
class Gemma(CausalLM):
    """Any Gemma 1, 2 or 3 of Transformers. Its format has no system role: the user says what the system would.

    path: a folder or hub name with weights and tokenizer; None makes random weights and a byte-level tokenizer.
    config: options for random weights, of ``Gemma3TextConfig`` or, with ``model_type: gemma2`` or ``gemma``, of that
        family's config class.
    tokenizer: a folder or hub name, where it is not ``path``.
    system: the system turn of a conversation that has none; empty for no turn.
    """

    def __init__(
        self,
        path: str | None = None,
        config: Options | None = None,
        tokenizer: str | None = None,
        system: str = FAMILY.system,
    ) -> None:
        chat = load_chat(tokenizer or path, system, FAMILY.chat_formats, chat="gemma")
        super().__init__(build_model("gemma", FAMILY.classes(), path, config, chat), chat)
