"""A tiny chat model on disk, for judges that run on this machine."""

from pathlib import Path

import torch
from interleave_plugins.llm.base.chat_formats import byte_tokenizer
from transformers import Qwen2Config, Qwen2ForCausalLM


def write_chat_model(folder: Path) -> Path:
    """Write a tiny language model over bytes, at random weights, with a chat template. Returns the folder.

    ``judge=local`` reads such a folder.
    """
    tokenizer = byte_tokenizer(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    tokenizer.eos_token = "<|im_end|>"
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    sizes = {"vocab_size": len(tokenizer), "max_position_embeddings": 512, "num_key_value_heads": 2}
    Qwen2ForCausalLM(Qwen2Config(**shape, **sizes, initializer_range=0.5)).save_pretrained(folder)
    return folder
