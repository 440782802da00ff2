"""Questions to a model in batches, every visual prepared and encoded once: the only place that asks items of a task."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from ..core.errors import BadSample, sample_border
from ..core.sample import Media, Sample
from ..core.types import Visual
from ..inference.feature_cache import FeatureCache
from ..inference.generate import GeneratedReply, eval_mode, generate_ids, right_align, to_reply
from ..inference.generation_options import SAMPLING_OPTIONS, GenerationOptions, generation_options
from ..inference.lm import LM
from ..interfaces.judge import JudgedTask
from ..interfaces.task import Task
from ..processing.collate import one_per_row
from . import batch_plan
from .item_rendering import RenderedItem, question, render_item
from .media_prefetch import Prepared
from .reply import ItemRecord, Reply, describe_item, media_of, refused, reply_to

Size = tuple[int, int]
"""Tokens and views of a prompt."""
Samples = Mapping[int, Sample | BadSample]
"""Index of an item -> its question, or why it has none."""


@dataclass(frozen=True)
class Settings:
    """How items are asked.

    batch: items at once, at most.
    tokens: of a batch's prompts, padded to the longest, at most.
    prompt_tokens: of one prompt, at most; None takes what the language model's context leaves beside the reply.
    num_workers: threads that open media.
    generation: options of generation in place of what the task says.
    placement: visuals where the task has them, or all in front of the text, which then refers to them.
    """

    batch: int = 64
    tokens: int = 65_536
    prompt_tokens: int | None = None
    num_workers: int = 4
    generation: Mapping[str, object] = field(default_factory=dict)
    placement: Literal["interleaved", "front"] = "interleaved"

    def generation_of(self, task: Task) -> dict[str, object]:
        """Options by which replies to a task are generated. Raises InputError for an unknown one.

        Sampling is seeded, so that the same command gives the same file.
        """
        options: dict[str, object] = {**task.generation, **self.generation}
        if any(options.get(name) is not None for name in (*SAMPLING_OPTIONS, "do_sample")):
            options.setdefault("seed", 0)
        generation_options(options)  # raises
        return options


class AskJob(NamedTuple):
    """A window of one task: items that are planned and asked together.

    name: of the task.
    records: all of the task, as they are to be asked.
    items: indices of the window's items.
    done: those of them that have a reply already, and the size of their prompts: batches must be the same as if nothing
        had been asked before.
    """

    name: str
    task: Task
    records: Sequence[ItemRecord]
    items: Sequence[int]
    done: Mapping[int, Size]


class AskedBatch(NamedTuple):
    """Replies that came together. seconds: the time that each of them took, on average."""

    replies: list[Reply]
    seconds: float


class Runner:
    """Asks jobs one after another; media of the next job are opened meanwhile."""

    def __init__(self, lm: LM, settings: Settings) -> None:
        self.lm, self.settings = lm, settings
        self.features = FeatureCache(lm.model)

    def run(self, jobs: Sequence[AskJob]) -> Iterator[AskedBatch]:
        """Of each job first the items that cannot be asked, then the replies of each batch.

        Closing the iterator ends the threads.
        """
        self.prepared = Prepared(self.lm.adapters, self.settings.num_workers)
        try:
            upcoming = self._samples_left(jobs[0]) if jobs else {}
            for number, job in enumerate(jobs):
                samples = upcoming
                upcoming = self._samples_left(jobs[number + 1]) if number + 1 < len(jobs) else {}
                media = [*_media_in(samples), *_media_in(upcoming)]
                self.prepared.keep(media)
                self.prepared.want(media)
                yield from self._job(job, samples)
        finally:
            self.prepared.close()

    def _job(self, job: AskJob, samples: Samples) -> Iterator[AskedBatch]:
        started = time.perf_counter()
        options = generation_options(self.settings.generation_of(job.task))
        max_prompt_tokens = self._max_prompt_tokens(options)
        items, failed = self._render(job, samples, max_prompt_tokens)
        if failed:
            yield AskedBatch(failed, (time.perf_counter() - started) / len(samples))
        sizes = dict(job.done)
        for index, item in items.items():
            sizes[index] = (item.asked.prompt_tokens, item.asked.views)
        for batch in batch_plan.batches(list(sizes), sizes.__getitem__, self.settings.batch, self.settings.tokens):
            if all(index in job.done for index in batch):
                continue
            batch_started = time.perf_counter()
            # A batch that was interrupted is asked again whole: only the same batch gives the same replies to the
            # last bit.
            missing = {index: self._sample(job, index) for index in batch if index not in items}
            items |= self._render(job, missing, max_prompt_tokens)[0]
            chosen = [items.pop(index) for index in batch if index in items]
            replies = self._batch(job, chosen, options)
            if replies:
                yield AskedBatch(replies, (time.perf_counter() - batch_started) / len(batch))

    def _render(
        self, job: AskJob, samples: Samples, max_prompt_tokens: int | None
    ) -> tuple[dict[int, RenderedItem], list[Reply]]:
        """Items that can be asked, by index, and the lines of those that cannot."""
        tokenizer = self.lm.model.llm.tokenizer
        items: dict[int, RenderedItem] = {}
        failed: list[Reply] = []
        for index, sample in samples.items():
            item = describe_item(job.name, job.task, job.records[index], index)
            made = render_item(item, sample, self.prepared.adapters, tokenizer, max_prompt_tokens)
            if isinstance(made, Reply):
                failed.append(made)
            else:
                items[index] = made
        return items, failed

    def _batch(self, job: AskJob, items: Sequence[RenderedItem], options: GenerationOptions) -> list[Reply]:
        """Ask a batch: lines of those that failed, then the replies to the others in their order."""
        chosen: list[RenderedItem] = []
        visuals: list[Visual] = []
        lines: list[Reply] = []
        for item in items:
            try:
                with sample_border():
                    visuals += [self.prepared.get(media) for media in media_of(item.sample)]
                chosen.append(item)
            except BadSample as bad:  # it could be read when the batch was planned
                lines.append(refused(item.asked, bad))
        replies = self.answers(job, chosen, visuals, options) if chosen else []
        for item, reply in zip(chosen, replies, strict=True):
            lines.append(_scored(job, item, reply))
        return lines

    def _max_prompt_tokens(self, options: GenerationOptions) -> int | None:
        if self.settings.prompt_tokens is not None:
            return self.settings.prompt_tokens
        context = self.lm.model.llm.context
        return None if context is None else context - options.max_new_tokens

    def answers(
        self, job: AskJob, items: Sequence[RenderedItem], visuals: Sequence[Visual], options: GenerationOptions
    ) -> list[GeneratedReply]:
        """One batch through the model. visuals: of all items, in their order."""
        model = self.lm.model
        batch = one_per_row([item.example for item in items], self.lm.vision).to(model.mean.device)
        with eval_mode(model):
            embeds = model.embed(batch, self.features.encode(visuals))  # (B, T, D), padded at the end
            embeds, mask = right_align(embeds, batch.document_lengths)  # (B, T, D), (B, T)
            new_ids = generate_ids(model, embeds, mask, options)  # (B, n)
        return [to_reply(model.llm.tokenizer, ids, options.stop_strings) for ids in new_ids.tolist()]

    def _samples_left(self, job: AskJob) -> Samples:
        """Questions of a job that have no reply yet."""
        return {index: self._sample(job, index) for index in job.items if index not in job.done}

    def _sample(self, job: AskJob, index: int) -> Sample | BadSample:
        try:
            return question(job.task, job.records[index], self.settings.placement)
        except BadSample as bad:
            return bad


def _media_in(samples: Samples) -> Iterable[Media]:
    for sample in samples.values():
        if isinstance(sample, Sample):
            yield from media_of(sample)


def _scored(job: AskJob, item: RenderedItem, reply: GeneratedReply) -> Reply:
    if isinstance(job.task, JudgedTask):  # graded later
        return reply_to(item.asked, reply.text, None, reply.num_tokens, reply.truncated)
    try:
        with sample_border():
            scores = job.task.score(job.records[item.asked.index], reply.text)
    except BadSample as bad:
        return refused(item.asked, bad)
    return reply_to(item.asked, reply.text, scores, reply.num_tokens, reply.truncated)
