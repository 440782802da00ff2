"""What the tests share: a small model of built-in parts and samples of every modality."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["WANDB_MODE"] = "offline"

import pytest
import torch

import interleave as il
from interleave.build import Assembly, assemble
from interleave.render import render
from interleave.types import Example

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"

torch.set_num_threads(2)
il.load_plugins()


def small_config(**changes: Mapping[str, Any]) -> dict[str, Any]:
    parts: dict[str, Any] = {
        "vision_encoder": {"name": "tiny", "size": 16, "patch": 4, "dim": 16, "layers": 1, "heads": 2},
        "projector": {"name": "mlp"},
        "llm": {"name": "tiny", "dim": 32, "layers": 2, "heads": 2},
        "modality": {
            "image": {"name": "image"},
            "video": {"name": "video", "frames": 4, "stride": 2},
            "multipatch": {"name": "multipatch"},
            "scene3d": {"name": "scene3d"},
        },
    }
    return parts | changes


@pytest.fixture
def assembly() -> Assembly:
    torch.manual_seed(0)
    return assemble(small_config())


def talk(*parts: str | il.Media, answer: str = "yes it is") -> il.Sample:
    return il.Sample([il.Turn("user", list(parts)), il.Turn("assistant", [answer])], "1", "test")


def some_samples(assembly: Assembly) -> list[il.Sample]:
    """One of each modality, one with two of them, and one without any."""
    shown = {kind: il.Media(kind, adapter.example()) for kind, adapter in assembly.adapters.items()}
    return [
        *(talk("what is ", media, "?", answer=f"a {kind}") for kind, media in shown.items()),
        talk(shown["video"], "and", shown["multipatch"], answer="both"),
        talk("plain text", answer="no pictures"),
    ]


def rendered(assembly: Assembly, samples: list[il.Sample], reply: bool = False) -> list[Example]:
    return [render(s, assembly.adapters, assembly.model.llm.chat, reply) for s in samples]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real media and golden numbers, beside the repository."""
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is not here: no real media to read")
    return SHARED
