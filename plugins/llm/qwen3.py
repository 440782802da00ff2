"""Qwen3, dense."""

from interleave import llms

from ..base.hf_models import Options
from .base.causal_lm import CausalLM, build_model, load_chat
from .base.families import FAMILIES

FAMILY = FAMILIES["qwen3"]


@llms.register("qwen3")
class Qwen3(CausalLM):
    """Any dense Qwen3 of Transformers, speaking ChatML; replies are not made to think first.

    path: a folder or hub name with weights and tokenizer; None makes random weights and a byte-level tokenizer.
    config: options of ``Qwen3Config``, for random weights.
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
        chat = load_chat(tokenizer or path, system, FAMILY.chat_formats, chat="chatml")
        super().__init__(build_model("qwen3", FAMILY.classes(), path, config, chat), chat)
