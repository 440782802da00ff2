"""What our model computes for the fixed prompts, module by module."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..inference.lm import LM
from .probe_prompts import probe_prompts

NUM_LOGITS = 16
"""Logits are compared at so many last positions: those of all positions of a prompt would take gigabytes."""
VISUAL_ID = -1
"""Stands in ``tokens`` for every feature and newline, since layouts have different ids for them."""

Trace = dict[str, Tensor]
"""What a model computes for one prompt, in its order, on the CPU.

tokens: (T,) long. pixels: (V, 3, S, S), normalised. The outputs of modules: (V or 1, positions, width) each. logits:
(1, NUM_LOGITS, vocabulary). All but the tokens are float32.
"""
Hook = Callable[[nn.Module, tuple[object, ...], Tensor | tuple[Tensor, ...]], None]


def trace(lm: LM) -> dict[str, Trace]:
    """The trace of each of ``lm``'s fixed prompts by its name."""
    model = lm.model
    modules = {
        "vision tower": model.vision_encoder,
        "projector": model.projector,
        **named_layers(model.llm.blocks()),
    }
    traces: dict[str, Trace] = {}
    for name, sample in probe_prompts(lm).items():
        batch = lm.batch([sample], reply=True)
        tokens = batch.input_ids[0].clone()  # (T,)
        tokens[batch.visual_positions] = VISUAL_ID
        tokens[tokens == model.llm.tokenizer.newline_id] = VISUAL_ID
        with recorded(modules) as outputs, torch.inference_mode():
            hidden = model.hidden(batch)  # (1, T, D)
            logits = model.llm.head(hidden[:, -NUM_LOGITS:])  # (1, NUM_LOGITS, vocabulary)
        pixels = (batch.pixel_values / 255 - model.mean.float()) / model.std.float()  # (V, 3, S, S)
        traces[name] = {"tokens": tokens, "pixels": pixels, **outputs, "logits": logits.float().cpu()}
    return traces


def named_layers(layers: list[nn.Module]) -> dict[str, nn.Module]:
    """The layers of a language model by the names that errors call them."""
    return {f"language model layer {number}": layer for number, layer in enumerate(layers)}


@contextmanager
def recorded(modules: Mapping[str, nn.Module]) -> Iterator[Trace]:
    """While the block runs, the outputs of ``modules`` are collected by their names, in the order in which they run.

    Of a module that returns a tuple, as layers of Transformers may, the first element is kept.
    """
    outputs: Trace = {}

    def keep_as(name: str) -> Hook:
        def hook(module: nn.Module, arguments: tuple[object, ...], output: Tensor | tuple[Tensor, ...]) -> None:
            first = output[0] if isinstance(output, tuple) else output
            outputs[name] = first.detach().float().cpu()

        return hook

    handles = [module.register_forward_hook(keep_as(name)) for name, module in modules.items()]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()
