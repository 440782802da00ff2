"""What Transformers computes for an export, by its own classes alone: the only place that asks its Llava models."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from transformers import (
    AutoImageProcessor,
    AutoModelForImageTextToText,
    AutoProcessor,
    BatchFeature,
    PreTrainedModel,
)
from transformers.utils import logging

from ..core.errors import InputError
from ..core.sample import Sample
from ..core.types import VisionSpec
from ..inference.lm import LM
from ..media.views import to_view
from .probe_prompts import probe_prompts
from .trace import NUM_LOGITS, VISUAL_ID, Trace, named_layers, recorded


def trace_transformers(folder: Path, source: LM, dtype: torch.dtype) -> dict[str, Trace]:
    """The trace of each fixed prompt by its name, made with the model class, processor and chat template of ``folder``.

    source: the model that was exported, which decides the prompts; its weights are not needed.
    dtype: in which the export computes.
    Raises InputError where Transformers lacks a weight of its model or finds one too many.
    """
    processor = AutoProcessor.from_pretrained(folder)
    processor.image_processor = AutoImageProcessor.from_pretrained(folder, backend="pil")  # resizes as published
    model = _load(folder, dtype)
    modules = _named_modules(model, num_run_layers=len(source.model.vision_encoder.blocks()))
    traces: dict[str, Trace] = {}
    for name, sample in probe_prompts(source).items():
        inputs = _processed(processor, sample, model.config.model_type, source.vision)
        with recorded(modules) as outputs, torch.inference_mode():
            output = model(**inputs.to(dtype), use_cache=False, logits_to_keep=NUM_LOGITS)
        logits = output.logits.float()  # (1, NUM_LOGITS, vocabulary)
        tokens = inputs["input_ids"][0].clone()  # (T,)
        marks = [model.config.image_token_id, getattr(model.config, "video_token_id", VISUAL_ID)]
        tokens[torch.isin(tokens, torch.tensor(marks))] = VISUAL_ID
        traces[name] = {"tokens": tokens, "pixels": _pixels(inputs), **outputs, "logits": logits}
    return traces


def _load(folder: Path, dtype: torch.dtype) -> PreTrainedModel:
    with _without_progress_bar():
        # with output_loading_info a pair, which its annotation does not tell
        loaded: Any = AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype, output_loading_info=True)
    model, report = loaded
    for key in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if report[key]:
            first = min(map(str, report[key]))
            raise InputError(f"{folder}: Transformers finds {key.replace('_', ' ')}: {first}")
    assert isinstance(model, PreTrainedModel)
    model.eval()
    return model


def _named_modules(model: PreTrainedModel, num_run_layers: int) -> dict[str, nn.Module]:
    """The modules of Transformers' model that ours has, too, by the names that ``trace`` gives them.

    num_run_layers: layers of the vision tower up to the one whose output is read.
    """
    tower = model.get_submodule("model.vision_tower")
    if hasattr(tower, "vision_model"):  # not every tower of Transformers 5 is wrapped in a module of this name
        tower = tower.get_submodule("vision_model")
    layers = model.get_submodule("model.language_model.layers").children()
    return {
        "vision tower": tower.get_submodule(f"encoder.layers.{num_run_layers - 1}"),
        "projector": model.get_submodule("model.multi_modal_projector"),
        **named_layers(list(layers)),
    }


def _pixels(inputs: BatchFeature) -> Tensor:
    """The normalised views, (V, 3, S, S) in all, whatever the processor calls them and however it groups them."""
    key = "pixel_values" if "pixel_values" in inputs else "pixel_values_videos"
    pixels: Tensor = inputs[key]
    return pixels.float()


ChatMessage = dict[str, str | list[dict[str, str]]]
"""A message in the form of Transformers: its role, and its content as a list of texts and marks of visuals."""


class Processor(Protocol):
    """What is asked of a processor of Transformers, whose own annotation knows no content in several pieces."""

    def apply_chat_template(self, conversation: list[ChatMessage], *, add_generation_prompt: bool) -> str: ...

    def __call__(self, *, text: list[str], return_tensors: str, **visuals: object) -> BatchFeature: ...


@dataclass
class ProcessorInput:
    """A prompt in the form that processors take: content in order, and its pictures and videos beside it.

    A video is an array of frames, (F, H, W, 3) uint8.
    """

    content: list[dict[str, str]] = field(default_factory=list)
    images: list[Image.Image] = field(default_factory=list)
    videos: list[np.ndarray] = field(default_factory=list)


def _processor_input(sample: Sample, model_type: str, spec: VisionSpec) -> ProcessorInput:
    """The only message of ``sample`` for the processor of ``model_type``.

    In ``llava`` the frames of a video are pictures, and its processor may pad those; frames are never padded, so they
    come to it as squares.
    """
    prompt = ProcessorInput()
    for part in sample.messages[0].content:
        if isinstance(part, str):
            prompt.content.append({"type": "text", "text": part})
        elif part.kind == "video" and model_type != "llava":
            prompt.content.append({"type": "video"})
            prompt.videos.append(np.stack([np.array(frame) for frame in part.data]))  # (F, H, W, 3)
        else:
            pictures = [_square(frame, spec) for frame in part.data] if part.kind == "video" else [part.data]
            prompt.content += [{"type": "image"}] * len(pictures)
            prompt.images += pictures
    return prompt


def _processed(processor: Processor, sample: Sample, model_type: str, spec: VisionSpec) -> BatchFeature:
    """What Transformers' model takes for ``sample``: input_ids (1, T), pixel values and what belongs to them."""
    prompt = _processor_input(sample, model_type, spec)
    message: ChatMessage = {"role": "user", "content": prompt.content}
    text = processor.apply_chat_template([message], add_generation_prompt=True)
    visuals: dict[str, object] = {}
    if prompt.images:
        visuals["images"] = [prompt.images]
    if prompt.videos:
        visuals["videos"] = prompt.videos
    return processor(text=[text], return_tensors="pt", **visuals)


def _square(frame: Image.Image, spec: VisionSpec) -> Image.Image:
    """The view of a frame as a picture again."""
    view = to_view(frame, spec, "square")  # (3, S, S) uint8
    return Image.fromarray(view.permute(1, 2, 0).numpy())


@contextmanager
def _without_progress_bar() -> Iterator[None]:
    """No bar for a load that the user did not ask for."""
    was_enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_enabled:
            logging.enable_progress_bar()
