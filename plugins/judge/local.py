"""A judge on this machine: a language model of Transformers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, Literal, Protocol

import torch
from jinja2 import TemplateError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from interleave import BadSample, InputError, Judge, JudgeMessages, judges, one_line

from ..base.hf_models import UNREADABLE, read_config


class ChatModel(Protocol):
    """What is used of a causal language model of Transformers."""

    def generate(self, **options: object) -> torch.Tensor: ...


@judges.register("local")
class Local(Judge):
    """A causal language model that was trained to chat; its likeliest answer, token by token.

    path: a folder or hub name with weights, and a tokenizer that has a chat template.
    device: such as ``cuda:1``; null takes a GPU where there is one.
    dtype: of the weights; ``auto`` keeps that of the files.
    batch: conversations at once.
    max_tokens: the most tokens that an answer has.

    The weights are read when the first question comes.
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
        self.tokenizer = _load_tokenizer(path)
        self.path = path
        self.dtype = dtype
        self.batch = batch
        self.max_tokens = max_tokens
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.files = _files(path)  # part of the identity, so that the cache notices other weights
        self._model: ChatModel | None = None
        self._lock = Lock()

    def identity(self) -> Mapping[str, object]:
        commit = getattr(self.config, "_commit_hash", None)  # of a model from the hub
        model = {"judge": "local", "model": self.path, "commit": commit, "files": self.files}
        return {**model, "dtype": self.dtype, "max_tokens": self.max_tokens}

    def ask(self, messages: JudgeMessages, attempt: int) -> str:
        return self.ask_batch([messages], attempt)[0]

    def ask_batch(self, conversations: Sequence[JudgeMessages], attempt: int) -> list[str]:
        prompts = [self._prompt(messages) for messages in conversations]
        rows = self.tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False)
        length = rows["input_ids"].shape[1]  # input_ids: (B, length), padded on the left
        longest = getattr(self.config.get_text_config(), "max_position_embeddings", None)
        if longest and length + self.max_tokens > longest:
            raise BadSample(
                "over_length",
                f"the question has {length} tokens and an answer up to {self.max_tokens}, more than the {longest} of "
                f"{self.path}",
            )
        model = self._loaded()
        with torch.inference_mode():
            ids = model.generate(  # (B, length + new tokens)
                **rows.to(self.device), max_new_tokens=self.max_tokens, do_sample=False, temperature=None, top_p=None,
                top_k=None, pad_token_id=self.tokenizer.pad_token_id,
            )  # fmt: skip
        answers = self.tokenizer.batch_decode(ids[:, length:], skip_special_tokens=True)  # without the prompts
        return [str(answer) for answer in answers]

    def count(self, text: str) -> int:
        return len(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _prompt(self, messages: JudgeMessages) -> str:
        """The conversation in the model's chat template. Where it knows no system role, the user says that, too."""
        try:
            return self._templated(messages)
        except TemplateError:
            system = [message["content"] for message in messages if message["role"] == "system"]
            first, *others = [message for message in messages if message["role"] != "system"]
            text = "\n\n".join([*system, first["content"]])
            return self._templated([{**first, "content": text}, *others])

    def _templated(self, messages: JudgeMessages) -> str:
        return str(self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))

    def _loaded(self) -> ChatModel:
        """The model, loaded by the first thread that needs it."""
        with self._lock:
            if self._model is None:
                self._model = _load_model(self.path, self.dtype, self.device)
            return self._model


def _load_tokenizer(path: str) -> PreTrainedTokenizerBase:
    """The tokenizer, padding on the left so that answers begin at one place. Raises InputError."""
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(path, padding_side="left")
    except UNREADABLE as error:
        raise InputError(f"judge 'local': {path} has no tokenizer that can be read: {one_line(error)}") from None
    if not tokenizer.chat_template:
        raise InputError(f"judge 'local': the tokenizer of {path} has no chat template; a judge must be a chat model")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token  # any token will do: padding is masked
    return tokenizer


def _load_model(path: str, dtype: str, device: torch.device) -> ChatModel:
    """The model with all its weights, for inference. Raises InputError."""
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(path, dtype=dtype, output_loading_info=True)
    except UNREADABLE as error:
        raise InputError(f"judge 'local': {path} cannot be loaded: {one_line(error)}") from None
    model, report = loaded  # a pair, because of output_loading_info
    missing = sorted(report["missing_keys"])
    if missing:  # Transformers would go on with random weights and only warn
        raise InputError(f"judge 'local': {path} lacks {missing[0]} and {len(missing) - 1} more tensors")
    ready: ChatModel = model.to(device).eval()
    return ready


def _files(path: str) -> list[list[str | int]]:
    """Name, size in bytes and time in nanoseconds of each file of a folder: other weights there are another judge."""
    folder = Path(path)
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in found if file.is_file()]
