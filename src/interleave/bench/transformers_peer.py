"""The same weights in Transformers' own class, and our examples as its padded collator would hand them over."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForImageTextToText, PreTrainedModel

from ..core.types import IGNORE, Example
from ..export.convert import convert
from ..inference.lm import LM

PaddedBatch = dict[str, Tensor]
"""Arguments of Transformers' Llava by name."""


@contextmanager
def peer_of(lm: LM) -> Iterator[PreTrainedModel]:
    """Transformers' Llava with the weights of ``lm``, which writes them in the layout ``llava``. Its vision tower is
    cut to the layers that are read, so that it does no work that ours leaves out."""
    with tempfile.TemporaryDirectory() as folder:
        native, exported = Path(folder) / "native", Path(folder) / "llava"
        lm.save(native)
        convert(native, exported, "llava")
        peer: Any = AutoModelForImageTextToText.from_pretrained(
            exported, dtype=torch.float32, attn_implementation="sdpa"
        )
        tower = getattr(peer.model.vision_tower, "vision_model", peer.model.vision_tower)
        del tower.encoder.layers[len(lm.model.vision_encoder.blocks()) :]
        peer.config.vision_feature_layer = -1
        yield peer


def padded_batch(examples: Sequence[Example], image_token: int, left: bool = False) -> PaddedBatch:
    """Examples one a row, padded to the longest: input_ids, labels, attention_mask (B, T), pixel_values (V, 3, S, S).

    image_token: stands where features will be. left: pad in front, as generation wants it, not at the end.
    """
    longest = max(len(example.input_ids) for example in examples)
    shape = (len(examples), longest)
    input_ids, labels = torch.zeros(shape, dtype=torch.long), torch.full(shape, IGNORE)  # (B, T)
    mask = torch.zeros(shape, dtype=torch.long)  # (B, T)
    pixels: list[Tensor] = []
    for row, example in enumerate(examples):
        length = len(example.input_ids)
        span = slice(longest - length, longest) if left else slice(0, length)
        ids = example.input_ids.clone()
        ids[example.visual_positions] = image_token
        input_ids[row, span], labels[row, span], mask[row, span] = ids, example.labels, 1
        pixels += [(visual.pixel_values / 255 - 0.5) / 0.5 for visual in example.visuals]
    return {"input_ids": input_ids, "labels": labels, "attention_mask": mask, "pixel_values": torch.cat(pixels)}
