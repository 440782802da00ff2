"""A judge on this machine: a language model of Transformers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import torch
from jinja2 import TemplateError
from transformers import AutoModelForCausalLM, AutoTokenizer

from interleave import BadSample, InputError, Judge, JudgeMessages, judges

from ..base.hf_models import UNREADABLE, read_config


@judges.register("local")
class Local(Judge):
    """A causal language model that was trained to chat; its likeliest answer, token by token.

    path: a folder or hub name with weights, and a tokenizer that has a chat template. device: such as ``cuda:1``; None
    takes a GPU where there is one. dtype: of the weights; ``auto`` keeps that of the files. batch: conversations at
    once. max_tokens: the most that an answer has. The weights are read when the first question comes.
    """

    def __init__(
        self,
        path: str,
        device: str | None = None,
        dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
        batch: int = 8,
        max_tokens: int = 256,
    ) -> None:
        for name, value in {"batch": batch, "max_tokens": max_tokens}.items():
            if value < 1:
                raise InputError(f"judge.{name} is {value}; it must be at least 1")
        self.config = read_config("judge 'local'", path)
        self.tokenizer = _tokenizer(path)
        self.path, self.dtype, self.batch, self.max_tokens = path, dtype, batch, max_tokens
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.files = _files(path)
        self._model: Any = None
        self._lock = Lock()

    def identity(self) -> Mapping[str, Any]:
        commit = getattr(self.config, "_commit_hash", None)
        said = {"judge": "local", "model": self.path, "commit": commit, "files": self.files}
        return {**said, "dtype": self.dtype, "max_tokens": self.max_tokens}

    def ask(self, messages: JudgeMessages, attempt: int) -> str:
        return self.ask_batch([messages], attempt)[0]

    def ask_batch(self, conversations: Sequence[JudgeMessages], attempt: int) -> list[str]:
        prompts = [self._prompt(messages) for messages in conversations]
        rows = self.tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False)
        width = rows["input_ids"].shape[1]
        longest = getattr(self.config.get_text_config(), "max_position_embeddings", None)
        if longest and width + self.max_tokens > longest:
            raise BadSample(
                "over_length",
                f"the question has {width} tokens and an answer up to {self.max_tokens}, more than the {longest} of "
                f"{self.path}",
            )
        model = self._load()
        with torch.inference_mode():
            ids = model.generate(
                **rows.to(self.device), max_new_tokens=self.max_tokens, do_sample=False, temperature=None, top_p=None,
                top_k=None, pad_token_id=self.tokenizer.pad_token_id,
            )  # fmt: skip
        answers = self.tokenizer.batch_decode(ids[:, width:], skip_special_tokens=True)
        return [str(answer) for answer in answers]

    def count(self, text: str) -> int:
        return len(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _prompt(self, messages: JudgeMessages) -> str:
        try:
            return self._written(messages)
        except TemplateError:  # of a model that knows no system turn
            system = [turn["content"] for turn in messages if turn["role"] == "system"]
            first, *others = [turn for turn in messages if turn["role"] != "system"]
            return self._written([{**first, "content": "\n\n".join([*system, first["content"]])}, *others])

    def _written(self, messages: JudgeMessages) -> str:
        return str(self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))

    def _load(self) -> Any:
        with self._lock:
            if self._model is None:
                self._model = _weights(self.path, self.dtype).to(self.device).eval()
            return self._model


def _tokenizer(path: str) -> Any:
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(path, padding_side="left")
    except UNREADABLE as error:
        line = " ".join(str(error).split())[:300]
        raise InputError(f"judge 'local': {path} has no tokenizer that can be read: {line}") from None
    if not tokenizer.chat_template:
        raise InputError(f"judge 'local': the tokenizer of {path} has no chat template; a judge must be a chat model")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _weights(path: str, dtype: str) -> Any:
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(path, dtype=dtype, output_loading_info=True)
    except UNREADABLE as error:
        line = " ".join(str(error).split())[:300]
        raise InputError(f"judge 'local': {path} cannot be loaded: {line}") from None
    model, report = loaded
    if missing := sorted(report["missing_keys"]):  # Transformers would go on with random weights and warn
        raise InputError(f"judge 'local': {path} lacks {missing[0]} and {len(missing) - 1} more tensors")
    return model


def _files(path: str) -> list[list[str | int]]:
    """Name, size and time of what a folder holds: other weights in the same place are another judge."""
    folder = Path(path)
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return [[p.name, p.stat().st_size, p.stat().st_mtime_ns] for p in found if p.is_file()]
