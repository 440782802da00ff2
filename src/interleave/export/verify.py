"""Does an export compute what its source computes? The only place that asks Transformers' own Llava classes."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoProcessor
from transformers.utils import logging

from ..checkpoints import Checkpoint, Layout
from ..core.errors import InputError
from ..core.sample import Media, Message, Sample
from ..core.types import VisionSpec
from ..inference.lm import LM, load, read
from ..media.views import to_view
from ..model.assembly import Assembly

SMALL = 2_000_000_000
"""Parameters up to which both sides are compared in float32; larger models keep the precision of their files."""
ENDS = 16
"""Logits are compared for so many last positions: all of a prompt's would take gigabytes."""
ROUGH = {"tokens": 0.0, "pixels": 1e-5}
"""Differences allowed whatever the precision: none of tokens, and of pixels what normalising in another order makes."""

Trace = dict[str, Tensor]
"""What a model computes for one prompt, in its order: tokens, pixels, every module's output, logits."""


def prompts(lm: LM) -> dict[str, Sample]:
    """Fixed prompts: several images, and what is shown in another way than those, one image in tiles and a video."""
    size = lm.vision.size
    a, b, c, d = (_picture(size * w // 2, size, seed) for seed, w in enumerate((2, 3, 4, 2)))
    shown: dict[str, list[str | Media]] = {
        "image": [Media("image", a), " and ", Media("image", b), "\nWhat is different?"],
        "multipatch": [Media("multipatch", c), "\nDescribe it."],
        "video": ["Watch this: ", Media("video", [a, d]), "\nWhat happens?"],
    }
    text = Sample([Message("user", ["What is a lion?"])])
    alike = {kind for kind in ("multipatch", "video") if kind in lm.adapters and _plain(lm, shown[kind], kind)}
    chosen = {k: Sample([Message("user", content)]) for k, content in shown.items() if k in lm.adapters.keys() - alike}
    return chosen or {"text": text}


def _plain(lm: LM, content: list[str | Media], kind: str) -> bool:
    """Whether the modality shows whole views without anything between or pooling, as ``image`` does."""
    (media,) = (part for part in content if isinstance(part, Media))
    layout = list(lm.adapters[kind].prepare(media.data).layout)
    return set(layout) == {lm.vision.tokens} and "image" in lm.adapters


def _picture(width: int, height: int, seed: int) -> Image.Image:
    """Smooth colours, so that a resizer's rounding stays the only difference."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 255, (4, 4, 3), dtype=np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


def trace(lm: LM) -> dict[str, Trace]:
    """Ours."""
    model, found = lm.model, {}
    named = {"vision tower": model.vision_encoder, "projector": model.projector} | {
        f"language model layer {i}": block for i, block in enumerate(model.llm.blocks())
    }
    for kind, sample in prompts(lm).items():
        batch = lm.batch([sample], reply=True)
        ids = batch.input_ids[0].clone()
        ids[batch.visual_positions] = ids[ids == model.llm.tokenizer.newline_id] = -1
        with _recorded(named) as record, torch.inference_mode():
            logits = model.llm.head(model.hidden(batch)[:, -ENDS:])
        pixels = (batch.pixel_values / 255 - model.mean.float()) / model.std.float()
        found[kind] = {"tokens": ids, "pixels": pixels, **record, "logits": logits.float().cpu()}
    return found


def trace_transformers(folder: Path, source: LM, dtype: torch.dtype) -> dict[str, Trace]:
    """The export's, by Transformers alone: its model class, its processor and chat template."""
    processor = AutoProcessor.from_pretrained(folder)
    processor.image_processor = AutoImageProcessor.from_pretrained(folder, backend="pil")  # resizes as published
    with _quiet():
        loaded: Any = AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype, output_loading_info=True)
    model, report = loaded
    for key in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if report[key]:
            raise InputError(
                f"{folder}: Transformers finds {key.replace('_', ' ')}: {sorted(map(str, report[key]))[0]}"
            )
    inner = model.eval().model
    layers = source.model.vision_encoder.blocks()
    tower = getattr(inner.vision_tower, "vision_model", inner.vision_tower)
    named = {"vision tower": tower.encoder.layers[len(layers) - 1], "projector": inner.multi_modal_projector} | {
        f"language model layer {i}": layer for i, layer in enumerate(inner.language_model.layers)
    }
    found = {}
    for kind, sample in prompts(source).items():
        inputs = _processed(processor, sample, inner.config.model_type, source.vision)
        with _recorded(named) as record, torch.inference_mode():
            logits = model(**inputs.to(dtype), use_cache=False, logits_to_keep=ENDS).logits
        ids = inputs["input_ids"][0].clone()
        marks = [inner.config.image_token_id, getattr(inner.config, "video_token_id", -1)]
        ids[torch.isin(ids, torch.tensor(marks))] = -1
        pixels = next(inputs[key] for key in ("pixel_values", "pixel_values_videos") if key in inputs)
        found[kind] = {"tokens": ids, "pixels": pixels.float(), **record, "logits": logits.float()}
    return found


def _processed(processor: Any, sample: Sample, kind: str, spec: VisionSpec) -> Any:
    """A prompt through a processor. In ``llava`` the frames of a video are pictures, and its processor may pad those;
    frames are never padded, so they come to it as squares."""
    content: list[dict[str, str]] = []
    images: list[Any] = []
    videos: list[Any] = []
    for part in sample.messages[0].content:
        if isinstance(part, str):
            content.append({"type": "text", "text": part})
        elif part.kind == "video" and kind != "llava":
            content.append({"type": "video"})
            videos.append(np.stack([np.array(frame) for frame in part.data]))
        else:
            pictures = [_square(frame, spec) for frame in part.data] if part.kind == "video" else [part.data]
            content += [{"type": "image"}] * len(pictures)
            images += pictures
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    shown: dict[str, Any] = ({"images": [images]} if images else {}) | ({"videos": videos} if videos else {})
    return processor(text=[text], return_tensors="pt", **shown)


def _square(frame: Image.Image, spec: VisionSpec) -> Image.Image:
    return Image.fromarray(to_view(frame, spec, "square").permute(1, 2, 0).numpy())


@contextmanager
def _quiet() -> Iterator[None]:
    """No bar for a load that the user did not ask for."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


@contextmanager
def _recorded(named: Mapping[str, nn.Module]) -> Iterator[Trace]:
    """Outputs of modules while they run, (views or 1, positions, width) each."""
    record: Trace = {}

    def keep(name: str) -> Any:
        def hook(module: nn.Module, arguments: Any, output: Any) -> None:
            first = output[0] if isinstance(output, tuple) else output
            record[name] = first.detach().float().cpu()

        return hook

    handles = [module.register_forward_hook(keep(name)) for name, module in named.items()]
    try:
        yield record
    finally:
        for handle in handles:
            handle.remove()


def difference(ours: Mapping[str, Trace], theirs: Mapping[str, Trace], tolerance: float) -> str | None:
    """The first module whose output differs, in words; None where all agree.

    tolerance: absolute, or relative to the standard deviation where that is above 1; 0 asks for equal bits.
    """
    for kind, trace_ in ours.items():
        for name, mine in trace_.items():
            other = theirs[kind][name]
            if name == "vision tower":
                other = other[:, -mine.shape[1] :]  # Transformers drops a class token after the tower
            if name == "logits":
                other = other[..., : mine.shape[-1]]  # rows were added for placeholders
            if other.numel() != mine.numel():
                return f"{name} of the {kind} prompt, of shape {tuple(other.shape)} for {tuple(mine.shape)}"
            far = float((mine - other.view(mine.shape)).abs().max())
            allowed = tolerance * max(1.0, float(mine.float().std()))
            if name in ROUGH:
                allowed = ROUGH[name] if tolerance else 0.0
            if not far <= allowed:
                return f"{name} of the {kind} prompt, off by {far:.3g} where {allowed:.3g} is rounding"
    return None


def prove(checkpoint: Checkpoint, folder: Path, layout: Layout) -> float:
    """Run ``folder``, an export of ``checkpoint``, on fixed prompts and compare all that it computes with the source.

    Layouts of Transformers are run by Transformers. One model is in memory at a time. Returns the largest difference
    of the logits. Raises InputError naming the first module that differs.
    """
    ours_again = layout.name in ("native", "original")
    count = sum(shape.bytes // shape.dtype.itemsize for shape in checkpoint.tensors.shapes.values())
    dtype = None if ours_again or count > SMALL else torch.float32
    source = read(checkpoint, dtype=dtype)
    expected = trace(source)
    light = LM(Assembly(source.model.to("meta"), source.adapters, source.vision), source.config)
    if ours_again:
        found, tolerance = trace(load(folder)), 0.0
    else:
        kind = source.model.mean.dtype
        found, tolerance = trace_transformers(folder, light, kind), 1e-4 if kind == torch.float32 else 0.1
    different = difference(expected, found, tolerance)
    if different:
        raise InputError(f"the export to {layout.name} is not what its source is: first different is the {different}")
    ends = [(trace_["logits"], found[kind]["logits"]) for kind, trace_ in expected.items()]
    return max(float((mine - other[..., : mine.shape[-1]]).abs().max()) for mine, other in ends)
