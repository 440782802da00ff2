"""The mini data's test split, with controls that show whether the model looks, and at what."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from interleave import Media, Message, Sample, Task, list_frames, load_frames, load_image, tasks

from ..dataset.base.mini_drawings import FRAMES, HELD_OUT
from ..dataset.base.record_fields import Record, metadata_of, turns_of
from ..dataset.mini import make, records, to_sample

AS_IT_IS = "as it is"
BLANK = "blank"
REVERSED = "reversed"
EXPLAINED: Mapping[str, str] = {
    "single_image": "One picture with one coloured square.",
    "single_image/colour": "Which of eight colours is the square?",
    "single_image/where": "In which of 16 cells, named a to p row by row, is the square?",
    "multi_image": "Two or three pictures that must be compared.",
    "multi_image/new": "The second picture has one square more than the first: in which of 16 cells?",
    "multi_image/which": "Which of three pictures shows a square?",
    "video": "Eight frames of a square that crosses the picture and changes its colour on the way.",
    "video/direction": "Does the square move up, down, left or right?",
    "video/order": "Which of eight colours has the square first?",
    "scene3d": "A cube in a room of 4 x 4 x 4 cells, seen from the front and from the side.",
    "scene3d/position": "Which are the cube's three coordinates?",
    "scene3d/missing_view": "In which of 16 cells would the cube stand, seen from above?",
    "multi_patch": "Handwritten digits in a picture that is shown in tiles, too small to be read in its overview.",
    "multi_patch/digit": "Which is the only digit?",
    "multi_patch/digits": "Which digits stand in the four tiles? The score is the share that is right.",
    "multi_patch/quarter": "In which quarter of the picture is the only digit?",
    "transfer": "A question that was trained on other kinds of input only: does what was learned carry over?",
    "transfer/scene3d_held_out_colour": "Which of eight colours is the cube? Training asks it of no cube.",
    BLANK: "The same questions with black pictures. A model that looks at its pictures falls to chance.",
    REVERSED: "Pictures, frames and views in the opposite order. The score falls only where their order matters.",
}
"""Group or condition -> what it asks, for a reader of the report."""


@tasks.register("mini")
class MiniTask(Task):
    """Exact match of the reply; where several digits are read, the share of them that is right.

    root, scenes, seed, scenarios, within: of the data set (``dataset=mini``), whose test split is asked.
    controls: how items are asked once more: ``blank`` (black pictures) and ``reversed`` (pictures, frames and views in
        the opposite order).
    control_items: about how many items each control asks, spread evenly over the test split.
    """

    generation: Mapping[str, object] = {"max_new_tokens": 16}

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
        self.folder = make(Path(root), scenes, seed)
        self.scenarios = scenarios
        self.within = within
        self.controls = controls
        self.control_items = control_items

    def records(self) -> Sequence[Record]:
        """The items as they are, then each control's, with their ``condition``."""
        items = records(self.folder, "test", self.scenarios)
        step = max(1, len(items) // self.control_items)  # every so many items
        found: list[Record] = [{**item, "condition": AS_IT_IS} for item in items]
        for control in self.controls:
            found += [{**item, "condition": control} for item in items[::step]]
        return found

    def sample(self, record: Record) -> Sample:
        sample = to_sample(record, self.folder, reply=True, within=self.within)
        if record["condition"] == AS_IT_IS:
            return sample
        change = blank if record["condition"] == BLANK else reverse
        return Sample([change(message) for message in sample.messages], sample.id, sample.source)

    def answer(self, record: Record) -> str:
        return str(turns_of(record)[-1]["value"])

    def score(self, record: Record, reply: str) -> dict[str, float]:
        answer = self.answer(record)
        text = reply.strip()  # compared letter by letter
        if metadata_of(record)["form"] == "digits" and len(text) <= len(answer):
            right = sum(a == b for a, b in zip(answer, text, strict=False))
            return {"accuracy": right / len(answer)}
        return {"accuracy": float(text == answer)}  # also for more digits than there are

    def group(self, record: Record) -> str:
        metadata = metadata_of(record)
        scenario, form = metadata["scenario"], metadata["form"]
        return f"transfer/{scenario}_{form}" if (scenario, form) == HELD_OUT else f"{scenario}/{form}"

    def condition(self, record: Record) -> str:
        return str(record["condition"])

    def explains(self) -> Mapping[str, str]:
        return EXPLAINED

    def chance(self, record: Record) -> float | None:
        chance = metadata_of(record)["chance"]
        assert isinstance(chance, (int, float))
        return float(chance)


def blank(message: Message) -> Message:
    """The message with black pictures of the same sizes."""
    return Message(message.role, [_blank(part) if isinstance(part, Media) else part for part in message.content])


def _blank(media: Media) -> Media:
    black = [np.zeros_like(np.asarray(picture)) for picture in _pictures(media)]  # (H, W, 3) uint8 each
    return Media(media.kind, black if media.kind in ("video", "scene3d") else black[0])


def reverse(message: Message) -> Message:
    """Several pictures change places; the frames or views of one piece of media change theirs."""
    media = [_reverse(part) for part in message.content if isinstance(part, Media)]
    # text stays where it is; the places of media are filled from the last to the first
    return Message(message.role, [media.pop() if isinstance(part, Media) else part for part in message.content])


def _reverse(media: Media) -> Media:
    return Media(media.kind, _pictures(media)[::-1]) if media.kind in ("video", "scene3d") else media


def _pictures(media: Media) -> list[Image.Image]:
    """The frames of a video, the views of a scene, or a picture by itself."""
    if media.kind == "video":
        return load_frames(media.data, FRAMES)[0]
    if media.kind == "scene3d":
        return [load_image(view) for view in list_frames(media.data)]
    return [load_image(media.data)]
