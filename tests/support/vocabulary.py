"""A tokenizer with as many entries as Qwen's, made on the spot, because tests download nothing."""

import json
import sysconfig
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

ENTRIES = 151_936
CHATML = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def large_tokenizer(entries: int = ENTRIES) -> PreTrainedTokenizerFast:
    """Byte-level BPE learned from the standard library's text, filled up with made-up entries; speaks ChatML."""
    texts = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))[:60]
    learned = Tokenizer(models.BPE())
    learned.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=4000, initial_alphabet=alphabet, show_progress=False)
    learned.train([str(path) for path in texts], trainer)
    model = json.loads(learned.to_str())["model"]
    vocabulary: dict[str, int] = model["vocab"]
    made_up = range(len(vocabulary), entries - len(CHATML))
    vocabulary |= {f"\u241f{number}": number for number in made_up}  # no merge leads to them
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[tuple(pair) for pair in model["merges"]]))
    core.pre_tokenizer, core.decoder = learned.pre_tokenizer, decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, clean_up_tokenization_spaces=False)
    tokenizer.add_special_tokens({"eos_token": CHATML[2], "additional_special_tokens": CHATML})
    return tokenizer
