"""Which model it is: a short mark that changes with its weights or parts, made without reading all of it."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import torch

from ..checkpoints import open_checkpoint
from ..inference.lm import LM, override

NUM_PLACES = 64
"""Places of a file or of a tensor that are looked at; training moves the weights at all of them."""
BYTES_PER_PLACE = 4096
"""Of a file."""
MODEL_GROUPS = ("vision_encoder", "projector", "llm", "modality")
"""Groups of a config that decide what the model computes."""


def of_folder(path: str | Path, overrides: Sequence[str] = ()) -> str:
    """Of a model on disk: 16 hexadecimal digits, the same wherever the folder lies. Raises InputError.

    overrides: changes of the parts' options, as ``load`` takes them.
    """
    checkpoint = open_checkpoint(path)
    parts = json.dumps(override(checkpoint.parts, overrides), sort_keys=True, default=str)
    # the folder's own path may stand in the options of its parts
    digest = hashlib.sha256(parts.replace(str(checkpoint.folder), "").encode())
    for file in sorted(set(checkpoint.tensors.file_of.values())):
        size = file.stat().st_size
        digest.update(f"{file.name} {size}".encode())
        with file.open("rb") as content:
            for place in range(NUM_PLACES):
                content.seek(size * place // NUM_PLACES)
                digest.update(content.read(BYTES_PER_PLACE))
    return digest.hexdigest()[:16]


def of_weights(lm: LM) -> str:
    """Of a model in memory: 16 hexadecimal digits. Not the same as ``of_folder`` of the same model on disk."""
    parts = {group: lm.config[group] for group in MODEL_GROUPS if group in lm.config}
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode())
    for name, tensor in sorted(lm.model.state_dict().items()):
        # evenly spread indices into the flattened tensor, at most NUM_PLACES
        places = torch.linspace(0, tensor.numel() - 1, min(NUM_PLACES, tensor.numel())).long()
        values = tensor.detach().flatten()[places.to(tensor.device)].float().cpu()
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode() + values.numpy().tobytes())
    return digest.hexdigest()[:16]
