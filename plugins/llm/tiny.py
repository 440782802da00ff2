"""A language model that learns on a CPU in minutes."""

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from interleave import llms

from .base.causal_lm import CausalLM
from .base.chat_formats import PLAIN, ROLES, ChatFormat, HFChatTokenizer, byte_tokenizer

END = "<|end|>"
FORMAT = ChatFormat.same_for_roles("<|{role}|>", END, [END, *(f"<|{role}|>" for role in ROLES)], END)


@llms.register("tiny")
class TinyLM(CausalLM):
    """A small Qwen2 over bytes, with a token of its own for every role and initial weights that suit its width.

    dim: width of the hidden states; the MLPs are three times as wide.
    layers: number of decoder layers.
    heads: attention heads of each; they must divide ``dim``.
    std: standard deviation of the initial weights; the usual 0.02 stays at chance at this width.
    """

    def __init__(self, dim: int = 96, layers: int = 3, heads: int = 4, std: float = 0.1) -> None:
        chat = HFChatTokenizer(byte_tokenizer([PLAIN, *FORMAT.special]), FORMAT)
        config = Qwen2Config(
            vocab_size=len(chat.tokenizer),
            hidden_size=dim,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=heads,
            intermediate_size=3 * dim,
            tie_word_embeddings=True,
        )
        super().__init__(Qwen2ForCausalLM(config), chat)
        for parameter in self.parameters():
            if parameter.ndim > 1 or parameter is self.newline:  # not norms and biases
                torch.nn.init.normal_(parameter, std=std)

    def portable(self) -> dict[str, object]:
        """Nothing: its options name no files."""
        return {}
