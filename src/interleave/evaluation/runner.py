"""Questions to a model in batches, every visual prepared and encoded once: the only place that asks items of a task."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

from ..core.errors import BadSample
from ..core.sample import Media, Sample
from ..core.types import Example, Visual
from ..evaluation import batch_plan as plan
from ..inference.feature_cache import Features
from ..inference.generate import LENGTH, SAMPLING, Options, Said, evaluating, respond, right_align, said, settle
from ..inference.lm import LM
from ..interfaces.judge import JudgedTask
from ..interfaces.model_parts import ModalityAdapter
from ..interfaces.task import Task
from ..processing.collate import one_per_row
from ..processing.placement import Placement, placed
from ..processing.render import render
from .media_prefetch import Prepared
from .reply import Reply, about, media_of, prompt_of, short_hash

Size = tuple[int, int]
"""Tokens and views of a prompt."""


@dataclass(frozen=True)
class Settings:
    """How items are asked. batch: at most so many at once. tokens: of the padded prompts of a batch. prompt_tokens: of
    one prompt; None takes what the language model's context leaves beside the reply. num_workers: threads that open
    media. generation: in place of what the task says. placement: where visuals stand, as the task has them or all in
    front of the text, which then refers to them.
    """

    batch: int = 64
    tokens: int = 65_536
    prompt_tokens: int | None = None
    num_workers: int = 4
    generation: Mapping[str, Any] = field(default_factory=dict)
    placement: Literal["interleaved", "front"] = "interleaved"

    def of(self, task: Task) -> dict[str, Any]:
        """How replies to a task are made; sampling is seeded, so that the same command gives the same file."""
        given = {**task.generation, **self.generation}
        if any(given.get(name) is not None for name in (*SAMPLING, "do_sample")):
            given.setdefault("seed", 0)
        settle(given)
        return given


class Job(NamedTuple):
    """A run of items of one task that go through the model together. done: of those that have a reply, their size."""

    name: str
    task: Task
    records: Sequence[Mapping[str, Any]]
    items: Sequence[int]
    done: Mapping[int, Size]


class Asked(NamedTuple):
    """Replies that belong together, and how long one of them took, in seconds."""

    replies: list[Reply]
    seconds: float


class _Item(NamedTuple):
    """example: without its visuals, which wait in ``Prepared``. found: what is known of the reply so far."""

    sample: Sample
    example: Example
    found: dict[str, Any]


class Runner:
    """Asks jobs one after another; media of the next one are opened meanwhile."""

    def __init__(self, lm: LM, settings: Settings) -> None:
        self.lm, self.settings = lm, settings
        self.features = Features(lm.model)

    def run(self, jobs: Sequence[Job]) -> Iterator[Asked]:
        """First what cannot be asked, then the replies of each batch. Closing the iterator ends the threads."""
        self.prepared = Prepared(self.lm.adapters, self.settings.num_workers)
        try:
            ahead = _samples(jobs[0], self.settings.placement) if jobs else {}
            for i, job in enumerate(jobs):
                samples = ahead
                ahead = _samples(jobs[i + 1], self.settings.placement) if i + 1 < len(jobs) else {}
                soon = [piece for sample in ahead.values() if isinstance(sample, Sample) for piece in media_of(sample)]
                now = [piece for sample in samples.values() if isinstance(sample, Sample) for piece in media_of(sample)]
                self.prepared.keep([*now, *soon])
                self.prepared.want([*now, *soon])
                yield from self._job(job, samples)
        finally:
            self.prepared.close()

    def _job(self, job: Job, samples: Mapping[int, Sample | BadSample]) -> Iterator[Asked]:
        started = time.perf_counter()
        options = settle(self.settings.of(job.task))
        limit = self._limit(options)
        items: dict[int, _Item] = {}
        failed: list[Reply] = []
        for index, sample in samples.items():
            made = self._item(job, index, sample, limit)
            if isinstance(made, Reply):
                failed.append(made)
            else:
                items[index] = made
        if failed:
            yield Asked(failed, (time.perf_counter() - started) / len(samples))
        sizes = dict(job.done) | {i: (len(item.example.input_ids), item.found["views"]) for i, item in items.items()}
        for batch in plan.batches(list(sizes), sizes.__getitem__, self.settings.batch, self.settings.tokens):
            if all(index in job.done for index in batch):
                continue
            began = time.perf_counter()
            missing = {i: _sample(job, i, self.settings.placement) for i in batch if i not in items}
            again = {i: self._item(job, i, sample, limit) for i, sample in missing.items()}
            # an interrupted batch: only the same batch gives, to the last bit, the same replies
            items |= {i: made for i, made in again.items() if isinstance(made, _Item)}
            replies = self._batch(job, [items.pop(index) for index in batch if index in items], options)
            if replies:
                yield Asked(replies, (time.perf_counter() - began) / len(batch))

    def _batch(self, job: Job, items: Sequence[_Item], options: Options) -> list[Reply]:
        chosen, visuals, failed = [], [], []
        for item in items:
            try:
                visuals += [self.prepared.get(piece) for piece in media_of(item.sample)]
                chosen.append(item)
            except BadSample as bad:  # it could be read when the batch was planned
                failed.append(_refused(item.found, bad))
        texts = self.answers(job, chosen, visuals, options) if chosen else []
        return failed + [_scored(job, item, text) for item, text in zip(chosen, texts, strict=True)]

    def _item(self, job: Job, index: int, sample: Sample | BadSample, limit: int | None) -> _Item | Reply:
        """What is asked, or the line that says why it cannot be."""
        found = about(job.name, job.task, job.records[index], index)
        found |= {"prompt": "", "visuals": (0, 0), "views": 0, "prompt_tokens": 0, "shortened": ()}
        try:
            if isinstance(sample, BadSample):
                raise sample
            found["prompt"] = prompt_of(sample)
            expected = sum(_pictures(piece, self.lm.adapters) for piece in media_of(sample))
            found["visuals"] = (expected, 0)
            example = render(sample, self.prepared.adapters, self.lm.model.llm.tokenizer, reply=True)
            found["prompt_tokens"] = len(example.input_ids)
            if limit is not None and len(example.input_ids) > limit:
                raise _over_length(example, limit)
        except BadSample as bad:
            return _refused(found, bad)
        found["visuals"] = (expected, _fed(sample, example, self.lm.adapters))
        found["views"] = example.views
        found["shortened"] = tuple(note.message for note in (*sample.notes, *example.notes))
        return _Item(sample, replace(example, visuals=()), found)

    def _limit(self, options: Options) -> int | None:
        """Tokens that a prompt may have."""
        if self.settings.prompt_tokens is not None:
            return self.settings.prompt_tokens
        context: int | None = self.lm.model.llm.context
        return None if context is None else context - int(options.given.get("max_new_tokens", LENGTH))

    def answers(self, job: Job, items: Sequence[_Item], visuals: Sequence[Visual], options: Options) -> list[Said]:
        """One batch through the model."""
        model = self.lm.model
        batch = one_per_row([item.example for item in items], self.lm.vision).to(model.mean.device)
        with evaluating(model):
            embeds = model.embed(batch, self.features.of(visuals))
            embeds, mask = right_align(embeds, (batch.document_ids > 0).sum(1))
            new = respond(model, embeds, mask, options)
        return [said(model.llm.tokenizer, ids, options.stops) for ids in new.tolist()]


def _samples(job: Job, placement: Placement) -> dict[int, Sample | BadSample]:
    """What is to be asked of a job."""
    return {index: _sample(job, index, placement) for index in job.items if index not in job.done}


def _sample(job: Job, index: int, placement: Placement) -> Sample | BadSample:
    try:
        return placed(job.task.sample(job.records[index]), placement)
    except BadSample as bad:
        return bad


def _refused(found: Mapping[str, Any], bad: BadSample) -> Reply:
    nothing: dict[str, Any] = {"reply": None, "scores": None, "reply_tokens": 0, "truncated": False}
    known = {**found, "visuals": (found["visuals"][0], 0), "views": 0, "shortened": ()}
    error = {"reason": bad.reason, "message": bad.message}
    return Reply(**known, **nothing, prompt_hash=short_hash(found["prompt"]), error=error)


def _scored(job: Job, item: _Item, text: Said) -> Reply:
    record = job.records[item.found["index"]]
    scores = None if isinstance(job.task, JudgedTask) else job.task.score(record, text.text)
    ended: dict[str, Any] = {"reply": text.text, "reply_tokens": text.tokens, "truncated": text.cut}
    return Reply(**item.found, **ended, scores=scores, prompt_hash=short_hash(item.found["prompt"]), error=None)


def _pictures(media: Media, adapters: Mapping[str, ModalityAdapter]) -> int:
    """How many pictures must reach the model: of a list each one, unless choosing among them is what the kind does."""
    if media.kind in adapters and adapters[media.kind].samples:
        return 1
    return len(media.data) if isinstance(media.data, (list, tuple)) else 1


def _fed(sample: Sample, example: Example, adapters: Mapping[str, ModalityAdapter]) -> int:
    media = media_of(sample)
    shown = [min(_pictures(p, adapters), len(v.pixel_values)) for p, v in zip(media, example.visuals, strict=False)]
    return sum(shown)


def _over_length(example: Example, limit: int) -> BadSample:
    return BadSample(
        "over-length",
        f"{example.name}: a prompt of {len(example.input_ids)} tokens is longer than {limit}; "
        f"{len(example.visual_positions)} of them "
        "are visual. Raise prompt_tokens, or show fewer frames or tiles.",
    )
