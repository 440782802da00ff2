"""The config of a small model of built-in parts, and samples of every modality."""

from pathlib import Path

import interleave as il
from interleave.core.types import Example
from interleave.model.assembly import Assembly, Config
from interleave.processing.render import render

il.load_plugins()

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"
"""Files beside the repository that some tests read; they are skipped without it."""


def small_config(**changes: Config) -> dict[str, Config]:
    """A config node for each part of a model. changes: nodes in place of these, by the part's name."""
    parts: dict[str, Config] = {
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
    """A conversation of one question, of these pieces, and its answer."""
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
    """Samples as examples of the model. reply: end where the model is to answer."""
    return [render(s, assembly.adapters, assembly.model.llm.tokenizer, reply) for s in samples]
