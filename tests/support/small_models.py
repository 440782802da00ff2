"""A small model of built-in parts, and samples of every modality."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import interleave as il
from interleave.core.types import Example
from interleave.model.assembly import Assembly
from interleave.processing.render import render

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"


def small_config(**changes: Mapping[str, Any]) -> dict[str, Any]:
    parts: dict[str, Any] = {
        "vision_encoder": {"name": "tiny", "size": 16, "patch": 4, "dim": 16, "layers": 1, "heads": 2},
        "projector": {"name": "mlp"},
        "llm": {"name": "tiny", "dim": 32, "layers": 2, "heads": 2},
        "modality": {
            "image": {"name": "image"},
            "video": {"name": "video", "num_frames": 4, "stride": 2},
            "multipatch": {"name": "multipatch"},
            "scene3d": {"name": "scene3d"},
        },
    }
    return parts | changes


def talk(*parts: str | il.Media, answer: str = "yes it is") -> il.Sample:
    return il.Sample([il.Message("user", list(parts)), il.Message("assistant", [answer])], "1", "test")


def some_samples(assembly: Assembly) -> list[il.Sample]:
    """One of each modality, one with two of them, and one without any."""
    shown = {kind: il.Media(kind, adapter.example()) for kind, adapter in assembly.adapters.items()}
    return [
        *(talk("what is ", media, "?", answer=f"a {kind}") for kind, media in shown.items()),
        talk(shown["video"], "and", shown["multipatch"], answer="both"),
        talk("plain text", answer="no pictures"),
    ]


def rendered(assembly: Assembly, samples: list[il.Sample], reply: bool = False) -> list[Example]:
    return [render(s, assembly.adapters, assembly.model.llm.tokenizer, reply) for s in samples]
