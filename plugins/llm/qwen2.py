"""Qwen1.5, Qwen2 and Qwen2.5: the language models of LLaVA-NeXT-Interleave."""

from typing import Any

from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

from interleave import InputError, llms

from .causal import PLAIN, CausalLM, TokenizerChat, byte_tokenizer

START, END = "<|im_start|>", "<|im_end|>"


@llms.register("qwen2")
class Qwen2(CausalLM):
    """Any Qwen2 of Transformers, speaking ChatML.

    path: a folder or hub name with weights and tokenizer; None makes random weights and a byte-level tokenizer.
    config: options of ``Qwen2Config``, for random weights. tokenizer: a folder or hub name, where it is not ``path``.
    system: the system turn of every conversation.
    """

    def __init__(
        self,
        path: str | None = None,
        config: dict[str, Any] | None = None,
        tokenizer: str | None = None,
        system: str = "You are a helpful assistant.",
    ) -> None:
        if path is None and config is None:
            raise InputError("llm 'qwen2' needs llm.path, or llm.config with sizes for random weights")
        words = tokenizer or path
        known = AutoTokenizer.from_pretrained(words) if words else byte_tokenizer([PLAIN, START, END])
        chat = TokenizerChat(known, START + "{role}\n", END + "\n", [END, PLAIN], system)
        if path is None:
            model = Qwen2ForCausalLM(Qwen2Config(**{"vocab_size": len(known), **(config or {})}))
        else:
            model = Qwen2ForCausalLM.from_pretrained(path, **(config or {}))
        super().__init__(model, chat)
