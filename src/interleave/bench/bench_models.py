"""Models with random weights and samples that the benchmarks measure on, by their shapes."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from ..core.options import Config
from ..core.sample import Media, Message, Sample
from ..inference.lm import LM
from ..interfaces.registry import load_plugins
from ..model.assembly import assemble


class Tower(NamedTuple):
    """Layers of Transformers: their number, width, width within the MLP, heads, and heads of keys and values."""

    layers: int
    width: int
    inner: int
    heads: int
    kv_heads: int


class ModelShape(NamedTuple):
    """vision: SigLIP's layers. side: of a view, in pixels, of patches of 14. text: Qwen2's layers. vocabulary: entries.
    tied: whether embeddings and head are one."""

    vision: Tower
    side: int
    text: Tower
    vocabulary: int
    tied: bool = True


SO400M = Tower(26, 1152, 4304, 16, 16)
"""SigLIP's shape in the released models, without the layer that they leave out."""
SHAPES: Mapping[str, ModelShape] = {
    "tiny": ModelShape(Tower(2, 32, 64, 2, 2), 28, Tower(2, 32, 64, 2, 2), 512),
    "small": ModelShape(Tower(8, 128, 512, 2, 2), 112, Tower(8, 128, 688, 2, 1), 8_192),
    "0.5b": ModelShape(SO400M, 384, Tower(24, 896, 4864, 14, 2), 151_936),
    "7b": ModelShape(SO400M, 384, Tower(28, 3584, 18_944, 28, 4), 152_064, tied=False),
}
"""``small`` has the proportions of 0.5b: views of 64 tokens, and a head that is as large a part of the work."""
SCENARIOS: Mapping[str, tuple[float, tuple[int, ...]]] = {
    "multi_image": (0.44, (2, 2, 3, 4)),
    "frames": (0.21, (10,)),
    "scene": (0.08, (8, 10)),
    "tiles": (0.27, (3, 4, 5, 5)),
}
"""Share of a scenario in M4-Instruct, and numbers of views that are drawn for a sample of it."""


def parts_of(shape: ModelShape) -> dict[str, Config]:
    """Config nodes of SigLIP, an MLP and Qwen2 in that shape, with a tokenizer of bytes."""
    vision, text = shape.vision, shape.text
    tower = {
        "hidden_size": vision.width, "intermediate_size": vision.inner, "num_hidden_layers": vision.layers + 1,
        "num_attention_heads": vision.heads, "image_size": shape.side, "patch_size": 14,
    }  # fmt: skip
    words = {
        "hidden_size": text.width, "intermediate_size": text.inner, "num_hidden_layers": text.layers,
        "num_attention_heads": text.heads, "num_key_value_heads": text.kv_heads, "vocab_size": shape.vocabulary,
        "tie_word_embeddings": shape.tied, "max_position_embeddings": 32_768,
    }  # fmt: skip
    return {
        "vision_encoder": {"name": "siglip", "config": tower},
        "projector": {"name": "mlp"},
        "llm": {"name": "qwen2", "config": words},
        "modality": {"image": {"name": "image"}},
    }


def random_lm(shape: ModelShape, device: str = "cpu") -> LM:
    """A model of that shape at the same random weights every time, in float32."""
    load_plugins()
    torch.manual_seed(0)
    parts = parts_of(shape)
    with torch.device(device):
        return LM(assemble(parts), parts)


def noise(width: int, height: int, seed: int) -> Image.Image:
    """A picture of random pixels."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8))


def m4_like_samples(count: int, side: int) -> Iterator[Sample]:
    """Samples as long and with as many views as M4-Instruct's: its shares of scenarios, lognormal texts (a guess: no
    lengths are published; a quarter as long as with 729 tokens a view). Half of a text is answered. side: of pictures.
    """
    rng = np.random.default_rng(0)
    shares = np.array([share for share, _ in SCENARIOS.values()])
    for number, scenario in enumerate(rng.choice(list(SCENARIOS), count, p=shares / shares.sum())):
        views = int(rng.choice(SCENARIOS[str(scenario)][1]))
        half = max(4, int(np.clip(rng.lognormal(4.5, 0.9), 12, 3000) / 8))
        letters = "".join(rng.choice(list("abcdefgh "), 2 * half))
        shown = [Media("image", noise(side, side, 100 * number + view)) for view in range(views)]
        yield Sample([Message("user", [*shown, letters[:half]]), Message("assistant", [letters[half:]])])
