"""The mini data's test split, with controls that show whether the model looks, and at what."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from interleave import Media, Message, Sample, Task, list_frames, load_frames, load_image, tasks

from ..dataset.base.mini_drawings import FRAMES, HELD_OUT
from ..dataset.mini import make, records, to_sample

AS_IT_IS, BLANK, REVERSED = "as it is", "blank", "reversed"


@tasks.register("mini")
class MiniTask(Task):
    """Exact match of the reply; where several digits are read, the share of them that is right.

    root, scenes, seed, scenarios, within: of the data set. controls: how the items are asked again,
    ``blank`` (black pictures) and ``reversed`` (pictures, frames and views in the opposite order). control_items: of
    each control, spread over the test split.
    """

    generation: Mapping[str, Any] = {"max_new_tokens": 16}

    def __init__(
        self,
        root: str = "data/mini",
        scenes: int = 2000,
        seed: int = 0,
        controls: Sequence[str] = (BLANK, REVERSED),
        control_items: int = 500,
        scenarios: list[str] | None = None,
        within: bool = False,
    ) -> None:
        self.folder, self.scenarios, self.within = make(Path(root), scenes, seed), scenarios, within
        self.controls, self.control_items = controls, control_items

    def records(self) -> Sequence[Mapping[str, Any]]:
        items = records(self.folder, "test", self.scenarios)
        step = max(1, len(items) // self.control_items)
        changed = [{**r, "condition": control} for control in self.controls for r in items[::step]]
        return [{**r, "condition": AS_IT_IS} for r in items] + changed

    def sample(self, record: Mapping[str, Any]) -> Sample:
        sample = to_sample(dict(record), self.folder, reply=True, within=self.within)
        if record["condition"] == AS_IT_IS:
            return sample
        change = blank if record["condition"] == BLANK else reverse
        return Sample([change(turn) for turn in sample.messages], sample.id, sample.source)

    def answer(self, record: Mapping[str, Any]) -> str:
        return str(record["conversations"][-1]["value"])

    def score(self, record: Mapping[str, Any], reply: str) -> dict[str, float]:
        answer, said = self.answer(record), reply.strip()
        if record["metadata"]["form"] == "digits" and len(said) <= len(answer):
            return {"accuracy": sum(a == b for a, b in zip(answer, said, strict=False)) / len(answer)}
        return {"accuracy": float(said == answer)}

    def group(self, record: Mapping[str, Any]) -> str:
        scenario, form = record["metadata"]["scenario"], record["metadata"]["form"]
        return f"transfer/{scenario}_{form}" if (scenario, form) == HELD_OUT else f"{scenario}/{form}"

    def condition(self, record: Mapping[str, Any]) -> str:
        return str(record["condition"])

    def chance(self, record: Mapping[str, Any]) -> float | None:
        return float(record["metadata"]["chance"])


def blank(turn: Message) -> Message:
    return Message(turn.role, [_blank(p) if isinstance(p, Media) else p for p in turn.content])


def _blank(media: Media) -> Media:
    pictures = [np.zeros_like(np.asarray(p)) for p in _pictures(media)]
    return Media(media.kind, pictures if media.kind in ("video", "scene3d") else pictures[0])


def reverse(turn: Message) -> Message:
    """Several visuals change places; frames and views of one change theirs."""
    media = [_reverse(p) for p in turn.content if isinstance(p, Media)]
    return Message(turn.role, [media.pop() if isinstance(p, Media) else p for p in turn.content])


def _reverse(media: Media) -> Media:
    return Media(media.kind, _pictures(media)[::-1]) if media.kind in ("video", "scene3d") else media


def _pictures(media: Media) -> list[Any]:
    if media.kind == "video":
        return load_frames(media.data, FRAMES)[0]
    return [load_image(p) for p in list_frames(media.data)] if media.kind == "scene3d" else [load_image(media.data)]
