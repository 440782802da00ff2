"""The door to lmms-eval: its tasks on any model that ``load`` reads. Only lmms-eval imports this module.

lmms-eval finds ``manifest`` through the entry point group ``lmms_eval.models``, and the class through the manifest.
"""

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from lmms_eval.api.instance import GenerationResult, Instance, TokenCounts
from lmms_eval.api.model import lmms
from lmms_eval.models.registry_v2 import ModelManifest
from lmms_eval.protocol import ChatMessages

from ..core.errors import BadSample, InputError
from ..core.sample import Media, Message, Sample
from ..inference.lm import load

PASSED = ("max_new_tokens", "num_beams", "top_k", "repetition_penalty")
"""Options of generation that a task gives in Transformers' words; temperature, top_p and until are read apart."""


class _Question(NamedTuple):
    """One request. number: its place among the requests. options: of generation."""

    number: int
    sample: Sample
    options: dict[str, object]


def manifest() -> ModelManifest:
    """What lmms-eval registers."""
    return ModelManifest("interleave", chat_class_path="interleave.evaluation.lmms_eval.Interleave")


class Interleave(lmms):  # type: ignore[misc]  # lmms-eval has no types
    """``--model interleave --model_args pretrained=PATH``.

    pretrained: what ``interleave.load`` takes.
    overrides: of the model's parts, separated by semicolons:
        ``overrides='modality.video.num_frames=16;modality.image.fit=pad'``.
    batch_size: prompts at once.
    device: such as ``cuda:1``; None is the GPU of this process, or the CPU.
    max_batch_size: prompts at once where ``batch_size`` is ``auto``.
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
        self.lost: list[str] = []  # requests whose media could not be read

    def generate_until(self, requests: list[Instance]) -> list[GenerationResult]:
        """Replies in the order of the requests. One whose media cannot be read is empty, and is named in the log."""
        alike: dict[str, list[_Question]] = defaultdict(list)  # by options of generation: a batch has one way
        for number, request in enumerate(requests):
            question = self._question(number, request)
            alike[repr(sorted(question.options.items()))].append(question)
        replies: dict[int, str] = {}
        for questions in alike.values():
            questions.sort(key=_num_pieces)
            for start in range(0, len(questions), self.batch_size):
                batch = questions[start : start + self.batch_size]
                texts = self._reply([question.sample for question in batch], batch[0].options)
                for question, text in zip(batch, texts, strict=True):
                    replies[question.number] = text
        encode = self.lm.model.llm.tokenizer.encode
        results = []
        for number in range(len(requests)):
            count = TokenCounts(output_tokens=len(encode(replies[number], special=False)))
            results.append(GenerationResult(replies[number], count))
        return results

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Of an answer and its end after a prompt: log-probability, and whether every token is the likeliest."""
        return [self._likelihood(request) for request in requests]

    def generate_until_multi_round(self, requests: list[Instance]) -> list[str]:
        """Raises InputError: not supported."""
        raise InputError("interleave answers lmms-eval's tasks of one round; tasks of several rounds are not supported")

    def _question(self, number: int, request: Instance) -> _Question:
        _, messages_of, given, doc, task, split = request.args
        messages = ChatMessages(messages=messages_of(self.task_dict[task][split][doc]))
        sample = to_sample(messages, f"{task}/{doc}", self.lm.single_picture)
        return _Question(number, sample, generation(given))

    def _reply(self, samples: Sequence[Sample], options: Mapping[str, object]) -> list[str]:
        """A batch at once; where one of it cannot be read, one by one, so that only that one is lost."""
        try:
            return self.lm.reply(samples, **options)
        except BadSample as bad:
            if len(samples) == 1:
                self.lost.append(f"{samples[0].name}: {bad.message}")
                print(f"interleave: cannot be asked, the reply is empty: {self.lost[-1]}")
                return [""]
            return [self._reply([sample], options)[0] for sample in samples]

    @torch.inference_mode()
    def _likelihood(self, request: Instance) -> tuple[float, bool]:
        context, target, visuals_of, doc, task, split = request.args
        record = self.task_dict[task][split][doc]
        answer = target if isinstance(target, str) else target(record)
        visuals = visuals_of(record)
        single = self.lm.single_picture if len(visuals) == 1 else "image"
        shown = [_media(visual, _form_of(visual), single) for visual in visuals]
        sample = Sample([Message("user", [*shown, context]), Message("assistant", [answer])], str(doc), str(task))
        batch = self.lm.batch([sample])
        labels = batch.labels[0, 1:]  # (T - 1,): position t predicts token t + 1
        logits = self.lm.model(batch)[0, :-1][labels >= 0].float()  # (n, vocabulary) at the answer's n tokens
        labels = labels[labels >= 0]  # (n,)
        log_probability = logits.log_softmax(-1).gather(1, labels[:, None]).sum()
        return float(log_probability), bool((logits.argmax(-1) == labels).all())


def _num_pieces(question: _Question) -> int:
    """Texts and media of a question, by which prompts of about one length come into one batch."""
    return sum(len(message.content) for message in question.sample.messages)


def to_sample(messages: ChatMessages, name: str, single_picture: str) -> Sample:
    """A conversation in lmms-eval's form -> ours: pictures, videos and text in the order in which they stand.

    name: ``TASK/NUMBER``. single_picture: the modality that takes a picture which is the only one. Raises InputError
    for sound.
    """
    num_pictures = sum(part.type == "image" for message in messages.messages for part in message.content)
    picture = single_picture if num_pictures == 1 else "image"
    converted = []
    for message in messages.messages:
        pieces: list[str | Media] = []
        for part in message.content:
            if part.type == "audio":
                raise InputError(f"{name} has sound, which no modality of this model hears")
            pieces.append(part.text if part.type == "text" else _media(part.url, part.type, picture))
        converted.append(Message(message.role, pieces))
    task, _, number = name.rpartition("/")
    return Sample(converted, number, task)


def generation(given: Mapping[str, object]) -> dict[str, object]:
    """A task's options of generation -> ``LM.reply``'s. Greedy unless the task samples at a temperature above 0."""
    options = {key: given[key] for key in PASSED if given.get(key) is not None}
    temperature = given.get("temperature")
    if temperature:
        options["temperature"] = float(str(temperature))
        if given.get("top_p"):
            options["top_p"] = given["top_p"]
    until = given.get("until") or []
    strings = [until] if isinstance(until, str) else until
    assert isinstance(strings, Sequence)
    stops = [string for string in strings if string]
    if stops:
        options["stop_strings"] = stops
    return options


def _media(data: object, form: str, picture: str) -> Media:
    return Media("video" if form == "video" else picture, data)


def _form_of(data: object) -> str:
    """lmms-eval gives the path of a video, and a picture as it is."""
    return "video" if isinstance(data, str) else "image"
