"""Which model it is: a short mark that changes with its weights or parts, made without reading all of it."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ..checkpoints import open_checkpoint
from ..inference.lm import LM, override

SAMPLES = 64
"""Places of a file or of a tensor that are looked at; training moves the weights at all of them."""
PIECE = 4096
"""Bytes at each place of a file."""


def of_folder(path: str | Path, overrides: Sequence[str] = ()) -> str:
    """Of a model on disk, wherever the folder lies. Raises InputError."""
    checkpoint = open_checkpoint(path)
    parts = json.dumps(override(checkpoint, overrides), sort_keys=True, default=str)
    digest = hashlib.sha256(parts.replace(str(checkpoint.folder), "").encode())
    for file in sorted(set(checkpoint.tensors.file_of.values())):
        size = file.stat().st_size
        digest.update(f"{file.name} {size}".encode())
        with file.open("rb") as content:
            for i in range(SAMPLES):
                content.seek(size * i // SAMPLES)
                digest.update(content.read(PIECE))
    return digest.hexdigest()[:16]


def of_weights(lm: LM) -> str:
    """Of a model in memory."""
    digest = hashlib.sha256(json.dumps(_parts(lm.config), sort_keys=True, default=str).encode())
    for name, tensor in sorted(lm.model.state_dict().items()):
        places = torch.linspace(0, tensor.numel() - 1, min(SAMPLES, tensor.numel())).long()
        values = tensor.detach().flatten()[places.to(tensor.device)].float().cpu()
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode() + values.numpy().tobytes())
    return digest.hexdigest()[:16]


def _parts(config: Mapping[str, Any]) -> dict[str, Any]:
    return {group: config[group] for group in ("vision_encoder", "projector", "llm", "modality") if group in config}
