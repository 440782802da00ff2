"""Samples of pictures and videos, and batches of them as the inputs of Transformers."""

import numpy as np
import torch
from PIL import Image

import interleave as il
from interleave.core.types import Batch


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """A picture of noise; its size is in pixels."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8))


def asked(*content: str | il.Media) -> il.Sample:
    """A question of these pieces, with a reply."""
    return il.Sample([il.Message("user", list(content)), il.Message("assistant", ["a reply"])])


MULTI = asked(il.Media("image", picture(60, 40)), " and ", il.Media("image", picture(30, 70, 1)), "differ?")
TILES = asked(il.Media("multipatch", picture(100, 50)), "what?")
VIDEO = asked(il.Media("video", [picture(50, 50, i) for i in range(3)]), "and then?")


def as_transformers(batch: Batch, lm: il.LM, image: int, video: int = -1) -> dict[str, torch.Tensor | bool]:
    """A batch of one sample as the inputs of Transformers' classes, which mark visuals by tokens.

    image, video: the ids of their placeholder tokens; -1 where a model has none for videos.
    """
    ids = batch.input_ids.clone()  # (1, T)
    shown = torch.zeros(ids.numel(), dtype=torch.bool)  # (T,) whether a feature or a newline stands there
    shown[batch.visual_positions] = True
    shown = shown.view_as(ids) | (ids == lm.model.llm.tokenizer.newline_id)
    kinds = {s.kind for s in batch.visuals}
    ids[shown] = video if kinds == {"video"} and video >= 0 else image
    pixels = (batch.pixel_values / 255 - lm.model.mean) / lm.model.std  # (V, 3, S, S)
    return {"input_ids": ids, "pixel_values": pixels, "attention_mask": torch.ones_like(ids), "use_cache": False}
