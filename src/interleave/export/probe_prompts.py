"""Fixed prompts on which an export and its source are compared: every kind of media that they show in its own way."""

import numpy as np
from PIL import Image

from ..core.sample import Media, Message, Sample
from ..inference.lm import LM


def probe_prompts(lm: LM) -> dict[str, Sample]:
    """One question for each modality by its kind; a question of text alone, ``text``, where the model has none of them.

    Left out are kinds that show their media as ``image`` does.
    """
    size = lm.vision.size
    # widths differ, so that resizing, padding and tiling all have something to do; seeds differ, so that views do
    first = _smooth_picture(size, size, seed=0)
    wide = _smooth_picture(size * 3 // 2, size, seed=1)
    widest = _smooth_picture(size * 2, size, seed=2)
    last = _smooth_picture(size, size, seed=3)
    contents: dict[str, list[str | Media]] = {
        "image": [Media("image", first), " and ", Media("image", wide), "\nWhat is different?"],
        "multipatch": [Media("multipatch", widest), "\nDescribe it."],
        "video": ["Watch this: ", Media("video", [first, last]), "\nWhat happens?"],
    }
    prompts: dict[str, Sample] = {}
    for kind, content in contents.items():
        if kind not in lm.adapters:
            continue
        if kind == "image" or not _shows_like_image(lm, content, kind):
            prompts[kind] = Sample([Message("user", content)])
    return prompts or {"text": Sample([Message("user", ["What is a lion?"])])}


def _shows_like_image(lm: LM, content: list[str | Media], kind: str) -> bool:
    """Whether the modality shows whole views without anything between or pooling, as ``image`` does."""
    # a whole view is spec.tokens features; a separator would be text, a pooled view another number
    (media,) = (part for part in content if isinstance(part, Media))
    layout = set(lm.adapters[kind].prepare(media.data).layout)
    return layout == {lm.vision.tokens} and "image" in lm.adapters


def _smooth_picture(width: int, height: int, seed: int) -> Image.Image:
    """Smooth colours, so that a resizer's rounding stays the only difference. Sizes in pixels."""
    rng = np.random.default_rng(seed)
    # 4 by 4 random colours, enlarged
    coarse = Image.fromarray(rng.integers(0, 255, (4, 4, 3), dtype=np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)
