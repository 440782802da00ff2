"""MVBench: twenty kinds of questions about what changes over time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from string import ascii_uppercase

from interleave import BadSample, InputError, Media, Scored, hint, tasks

from .base.question_tables import Form, Rows, load, named, same
from .base.questions import Choices, Record, below, text, texts
from .base.video_questions import Videos

FOLDERS: Mapping[str, str] = {
    "action_antonym": "ssv2_video_mp4",
    "action_count": "perception/videos",
    "action_localization": "sta/sta_video_segment",
    "action_prediction": "star/Charades_segment",
    "action_sequence": "star/Charades_segment",
    "character_order": "perception/videos",
    "counterfactual_inference": "clevrer/video_validation",
    "egocentric_navigation": "vlnqa",
    "episodic_reasoning": "tvqa/video_fps3_hq_segment",
    "fine_grained_action": "Moments_in_Time_Raw/videos",
    "fine_grained_pose": "nturgbd_convert",
    "moving_attribute": "clevrer/video_validation",
    "moving_count": "clevrer/video_validation",
    "moving_direction": "clevrer/video_validation",
    "object_existence": "clevrer/video_validation",
    "object_interaction": "star/Charades_segment",
    "object_shuffle": "perception/videos",
    "scene_transition": "scene_qa/video",
    "state_change": "perception/videos",
    "unexpected_action": "FunQA_test/test",
}
"""Where the videos of each of the twenty lie in the ``video`` branch of OpenGVLab/MVBench."""


@tasks.register("mvbench")
@dataclass(kw_only=True, eq=False)
class MVBench(Videos, Choices):
    """Accuracy, as the mean over the twenty kinds of questions.

    Form: the ``json`` folder of OpenGVLab/MVBench, one file for each kind, named after it; or the name on the hub, read
    kind by kind. Videos lie as in its ``video`` branch, cut to what is asked about, below media or media/video; the
    uncut ones are not searched. kinds: which of the twenty are asked. Prompt as in lmms-eval for LLaVA models.
    """

    subset: None = field(init=False, default=None)
    path: str = "OpenGVLab/MVBench"
    split: str = "train"
    prompt: str = "Only give the best option.\n"
    kinds: Sequence[str] = tuple(FOLDERS)

    forms = (Form("MVBench's json files", same("video", "question", "candidates", "answer", "file")),)
    items = 4000

    def read(self) -> Rows:
        for name in self.kinds:
            if name not in FOLDERS:
                raise InputError(f"no kind {name!r} in MVBench{hint(name, FOLDERS)}")
        if Path(self.path).exists():
            table = [row for row in load(self.path, None, self.split) if row.get("file") in self.kinds]
        else:
            table = [{"file": name, **row} for name in self.kinds for row in load(self.path, name, self.split)]
        if not table:
            raise InputError(
                f"{self.path} has no file of the kinds {', '.join(self.kinds)}, such as {self.kinds[0]}.json"
            )
        return named(table, self.path, self.forms)

    def whole(self) -> int:
        return self.items * len(self.kinds) // len(FOLDERS)

    def shown(self, record: Record) -> Sequence[Media]:
        folder, name = FOLDERS[record["file"]], text(record, "video")
        for start in ("", "video/", "data0613/"):
            path = below(self.media, f"{start}{folder}/{name}")
            if path.exists():
                return [Media(self.video, path)]
        raise BadSample("missing file", f"no video {name} in {self.media}/{folder} or {self.media}/video/{folder}")

    def question(self, record: Record) -> str:
        options = zip(ascii_uppercase, self.options(record), strict=False)
        listed = "".join(f"({letter}) {option}\n" for letter, option in options)
        return f"Question:{text(record, 'question')}\nOption:\n{listed}{self.prompt}"

    def options(self, record: Record) -> list[str]:
        return texts(record, "candidates")

    def place(self, record: Record) -> int:
        options = self.options(record)
        return options.index(record["answer"]) if record["answer"] in options else -1

    def group(self, record: Record) -> str:
        return f"all/{record['file']}"

    def total(self, scored: Sequence[Scored]) -> dict[str, float]:
        kinds: dict[str, list[float]] = {}
        for item in scored:
            kinds.setdefault(item.record["file"], []).append(item.scores["accuracy"])
        return {"accuracy": fmean(fmean(scores) for scores in kinds.values())}
