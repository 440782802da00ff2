"""Does an export compute what its source computes?"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ..checkpoints import Checkpoint, Layout
from ..core.errors import InputError
from ..inference.lm import LM, load, read_model
from ..model.assembly import Assembly
from .trace import Trace, trace
from .trace_transformers import trace_transformers

LARGEST_IN_FLOAT32 = 2_000_000_000
"""Parameters up to which both sides are compared in float32; larger models keep the precision of their files."""
FLOAT32_TOLERANCE, HALF_TOLERANCE = 1e-4, 0.1
FIXED_TOLERANCES = {"tokens": 0.0, "pixels": 1e-5}
"""Differences allowed whatever the precision: none of tokens, and of pixels what normalising in another order makes."""


def prove(checkpoint: Checkpoint, folder: Path, layout: Layout) -> float:
    """Run ``folder``, an export of ``checkpoint``, on fixed prompts and compare all that it computes with the source.

    Layouts of Transformers are run by Transformers, the two others by this program, which must give equal bits. One
    model is in memory at a time. Returns the largest absolute difference of the logits. Raises InputError naming the
    first module that differs.
    """
    run_by_us = layout.name in ("native", "original")
    num_parameters = sum(torch.Size(spec.shape).numel() for spec in checkpoint.tensors.specs.values())
    keeps_precision = run_by_us or num_parameters > LARGEST_IN_FLOAT32
    source = read_model(checkpoint, dtype=None if keeps_precision else torch.float32)
    expected = trace(source)
    dtype = source.model.mean.dtype
    # frees the weights: the export is run against the source's tokenizer and adapters alone
    source_without_weights = LM(Assembly(source.model.to("meta"), source.adapters, source.vision), source.config)
    if run_by_us:
        found, tolerance = trace(load(folder)), 0.0
    else:
        found = trace_transformers(folder, source_without_weights, dtype)
        tolerance = FLOAT32_TOLERANCE if dtype == torch.float32 else HALF_TOLERANCE
    different = difference(expected, found, tolerance)
    if different:
        raise InputError(f"the export to {layout.name} is not what its source is: first different is the {different}")
    return max(_logit_difference(expected[name], found[name]) for name in expected)


def _logit_difference(expected: Trace, found: Trace) -> float:
    """The largest absolute difference, without the rows that were added for placeholders."""
    logits = expected["logits"]  # (1, NUM_LOGITS, vocabulary)
    return float((logits - found["logits"][..., : logits.shape[-1]]).abs().max())


def difference(expected: Mapping[str, Trace], found: Mapping[str, Trace], tolerance: float) -> str | None:
    """The first output that differs, in words; None where all agree.

    expected, found: traces of the source and of its export by the names of the prompts.
    tolerance: absolute, or relative to the standard deviation where that is above 1; 0 asks for equal bits.
    """
    for prompt, outputs in expected.items():
        for name, output in outputs.items():
            reason = _output_difference(name, output, found[prompt][name], tolerance)
            if reason:
                return f"{name} of the {prompt} prompt, {reason}"
    return None


def _output_difference(name: str, expected: Tensor, found: Tensor, tolerance: float) -> str | None:
    """How ``found`` differs from ``expected``, two outputs of the module ``name``; None where they agree."""
    if name == "vision tower":
        found = found[:, -expected.shape[1] :]  # Transformers drops a class token after the tower
    if name == "logits":
        found = found[..., : expected.shape[-1]]  # rows were added for placeholders
    if found.numel() != expected.numel():
        return f"of shape {tuple(found.shape)} for {tuple(expected.shape)}"
    # outputs of Transformers may lack the batch dimension or group views otherwise; the order of numbers is the same
    largest = float((expected - found.view(expected.shape)).abs().max())
    # outputs of deep layers grow, and rounding with them
    allowed = tolerance * max(1.0, float(expected.float().std()))
    if name in FIXED_TOLERANCES:
        allowed = FIXED_TOLERANCES[name] if tolerance else 0.0
    if not largest <= allowed:  # so that NaN, which no comparison holds for, counts as different
        return f"off by {largest:.3g} where {allowed:.3g} is rounding"
    return None
