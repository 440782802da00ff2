"""Batch -> text: the only place where replies are made."""

from typing import Any

import torch
from torch import Tensor

from .model import InterleavedModel
from .types import Batch


def right_align(embeds: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (B, T, D) with padding at the end -> padding in front, and the mask (B, T) of what is real."""
    steps = torch.arange(embeds.shape[1], device=embeds.device)
    shift = (embeds.shape[1] - lengths)[:, None]
    source = (steps - shift).clamp(min=0)
    moved = embeds.gather(1, source[..., None].expand_as(embeds))
    return moved, (steps >= shift).long()


@torch.inference_mode()
def generate(model: InterleavedModel, batch: Batch, **options: Any) -> list[str]:
    """One reply for each row of a batch of one document a row. ``options`` are those of Transformers' ``generate``."""
    was_training = model.training
    model.eval()
    embeds, mask = right_align(model.embed(batch), (batch.document > 0).sum(1))
    new = model.llm.generate(embeds, mask, **options)
    model.train(was_training)
    return [model.llm.chat.decode(_until_stop(ids, model.llm.chat.stop_ids)) for ids in new.tolist()]


def _until_stop(ids: list[int], stop: Any) -> list[int]:
    ends = [i for i, token in enumerate(ids) if token in stop]
    return ids[: ends[0]] if ends else ids
