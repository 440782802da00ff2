"""Overrides of ``interleave train`` that make a run take seconds."""

from pathlib import Path

TINY = [
    "llm.dim=32",
    "llm.layers=1",
    "vision_encoder.dim=16",
    "vision_encoder.layers=1",
    "vision_encoder.heads=2",
    "trainer.max_steps=2",
    "callbacks.progress=null",
    "data.sequence_length=1024",
    "data.batch_size=1",
    "data.max_views=64",
    "trainer.log_every_n_steps=1",
]


def mini(folder: Path) -> list[str]:
    """Overrides by which the data set ``mini`` draws few scenes into ``folder``."""
    return [f"dataset.mini.root={folder}", "dataset.mini.scenes=4"]
