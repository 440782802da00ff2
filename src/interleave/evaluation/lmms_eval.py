"""The door to lmms-eval: its tasks on any model that ``load`` reads. Only lmms-eval imports this module.

lmms-eval finds ``manifest`` through the entry point group ``lmms_eval.models``, and the class through the manifest.
"""

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lmms_eval.api.instance import GenerationResult, Instance, TokenCounts
from lmms_eval.api.model import lmms
from lmms_eval.models.registry_v2 import ModelManifest
from lmms_eval.protocol import ChatMessages

from ..core.errors import BadSample, InputError
from ..core.sample import Media, Message, Sample
from ..inference.lm import load

PASSED = ("max_new_tokens", "num_beams", "top_k", "repetition_penalty")
"""What a task says of generation in Transformers' words; temperature, top_p and until are read apart."""


def manifest() -> ModelManifest:
    """What lmms-eval registers."""
    return ModelManifest("interleave", chat_class_path="interleave.evaluation.lmms_eval.Interleave")


class Interleave(lmms):  # type: ignore[misc]  # lmms-eval has no types
    """``--model interleave --model_args pretrained=PATH``.

    pretrained: what ``interleave.load`` takes. overrides: of the model's parts, separated by semicolons:
    ``overrides='modality.video.num_frames=16;modality.image.fit=pad'``. batch_size: prompts at once. device:
    ``cuda:1``; None is the GPU of this process, or the CPU.
    """

    is_simple = False

    def __init__(
        self,
        pretrained: str,
        overrides: str = "",
        batch_size: int | str = 1,
        device: str | None = None,
        max_batch_size: int | None = None,
    ) -> None:
        super().__init__()
        self.lm = load(pretrained, [part for part in overrides.split(";") if part])
        here = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(device or here)
        self.lm.model.to(self.device)
        self.batch_size = int(batch_size) if str(batch_size).isdigit() else int(max_batch_size or 1)
        self.lost: list[str] = []

    def generate_until(self, requests: list[Instance]) -> list[GenerationResult]:
        """Replies in the order of the requests. One whose media cannot be read is empty, and is named in the log."""
        asked: dict[str, list[tuple[int, Sample, dict[str, Any]]]] = defaultdict(list)
        for number, request in enumerate(requests):
            _, messages, given, doc, task, split = request.args
            options = generation(given)
            said = ChatMessages(messages=messages(self.task_dict[task][split][doc]))
            sample = to_sample(said, f"{task}/{doc}", self.lm.single_picture)
            asked[repr(sorted(options.items()))].append((number, sample, options))
        replies: dict[int, str] = {}
        for group in asked.values():  # of one way of generating
            group.sort(key=lambda item: sum(len(turn.content) for turn in item[1].messages))
            for start in range(0, len(group), self.batch_size):
                chosen = group[start : start + self.batch_size]
                texts = self._reply([sample for _, sample, _ in chosen], chosen[0][2])
                replies |= {number: text for (number, _, _), text in zip(chosen, texts, strict=True)}
        encode = self.lm.model.llm.tokenizer.encode
        counts = [TokenCounts(output_tokens=len(encode(replies[i], special=False))) for i in range(len(requests))]
        return [GenerationResult(replies[i], counts[i]) for i in range(len(requests))]

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Of an answer and its end after a prompt: log-probability, and whether every token is the likeliest."""
        return [self._likelihood(request) for request in requests]

    def generate_until_multi_round(self, requests: list[Instance]) -> list[str]:
        raise InputError("interleave answers lmms-eval's tasks of one round; tasks of several rounds are not supported")

    def _reply(self, samples: Sequence[Sample], options: Mapping[str, Any]) -> list[str]:
        """A batch at once; where one of it cannot be read, one by one, so that only that one is lost."""
        try:
            return self.lm.reply(samples, **options)
        except BadSample as bad:
            if len(samples) == 1:
                self.lost.append(f"{samples[0].name}: {bad.message}")
                print(f"interleave: cannot be asked, the reply is empty: {self.lost[-1]}")
                return [""]
            return [text for sample in samples for text in self._reply([sample], options)]

    @torch.inference_mode()
    def _likelihood(self, request: Instance) -> tuple[float, bool]:
        context, target, visuals, doc, task, split = request.args
        record = self.task_dict[task][split][doc]
        answer = target if isinstance(target, str) else target(record)
        seen = visuals(record)
        single = self.lm.single_picture if len(seen) == 1 else "image"
        shown = [_media(one, _kind_of(one), single) for one in seen]
        sample = Sample([Message("user", [*shown, context]), Message("assistant", [answer])], str(doc), str(task))
        batch = self.lm.batch([sample])
        labels = batch.labels[0, 1:]
        logits = self.lm.model(batch)[0, :-1][labels >= 0].float()
        labels = labels[labels >= 0]
        likely = logits.log_softmax(-1).gather(1, labels[:, None]).sum()
        return float(likely), bool((logits.argmax(-1) == labels).all())


def to_sample(messages: ChatMessages, name: str, single_picture: str) -> Sample:
    """A conversation in lmms-eval's form -> ours: pictures, videos and text in the order in which they stand.

    single_picture: the modality that takes a picture which is the only one.
    """
    contents = [part for message in messages.messages for part in message.content]
    picture = single_picture if sum(part.type == "image" for part in contents) == 1 else "image"
    turns = []
    for message in messages.messages:
        parts: list[str | Media] = []
        for part in message.content:
            if part.type == "audio":
                raise InputError(f"{name} has sound, which no modality of this model hears")
            parts.append(part.text if part.type == "text" else _media(part.url, part.type, picture))
        turns.append(Message(message.role, parts))
    task, _, number = name.rpartition("/")
    return Sample(turns, number, task)


def generation(given: Mapping[str, Any]) -> dict[str, Any]:
    """A task's options -> ``LM.reply``'s. Greedy unless the task samples at a temperature above 0."""
    options = {key: given[key] for key in PASSED if given.get(key) is not None}
    if given.get("temperature"):
        options["temperature"] = float(given["temperature"])
        options |= {"top_p": given["top_p"]} if given.get("top_p") else {}
    until = given.get("until") or []
    stops = [stop for stop in ([until] if isinstance(until, str) else until) if stop]
    return {**options, "stop_strings": stops} if stops else options


def _media(data: Any, form: str, picture: str) -> Media:
    return Media("video" if form == "video" else picture, data)


def _kind_of(data: Any) -> str:
    return "video" if isinstance(data, str) else "image"
