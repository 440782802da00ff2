"""MVBench: twenty kinds of questions about what changes over time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from interleave import BadSample, InputError, Media, Scored, hint, tasks

from ..dataset.huggingface import Row
from .base.question_tables import Form, Record, Rows, load_table, same_names, to_rows
from .base.questions import ChoiceQuestions, path_below, text, texts
from .base.video_questions import VideoQuestions

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
"""Kind of questions -> folder of its videos in the ``video`` branch of OpenGVLab/MVBench."""


@tasks.register("mvbench")
@dataclass(kw_only=True, eq=False)
class MVBench(VideoQuestions, ChoiceQuestions):
    """Accuracy, as the mean over the twenty kinds of questions.

    Form: the ``json`` folder of OpenGVLab/MVBench, one file for each kind, named after it; or the name on the hub, read
    kind by kind. Videos lie as in its ``video`` branch, cut to what is asked about, below media or media/video; the
    uncut ones are not searched. Prompt as in lmms-eval for LLaVA models.

    kinds: which of the twenty are asked.
    """

    subset: None = field(init=False, default=None)  # not an option: each kind is a subset on the hub
    path: str = "OpenGVLab/MVBench"
    split: str = "train"
    prompt: str = "Only give the best option.\n"
    kinds: Sequence[str] = tuple(FOLDERS)

    forms = (Form("MVBench's json files", same_names("video", "question", "candidates", "answer", "file")),)
    num_items = 4000

    def read(self) -> Rows:
        for name in self.kinds:
            if name not in FOLDERS:
                raise InputError(f"no kind {name!r} in MVBench{hint(name, FOLDERS)}")
        table = self._local_rows() if Path(self.path).exists() else self._hub_rows()
        if not table:
            raise InputError(
                f"{self.path} has no file of the kinds {', '.join(self.kinds)}, such as {self.kinds[0]}.json"
            )
        return to_rows(table, self.path, self.forms)

    def _local_rows(self) -> list[Row]:
        """The rows of all files of the folder that are named after one of the kinds."""
        rows = load_table(self.path, None, self.split)
        return [row for row in rows if row.get("file") in self.kinds]

    def _hub_rows(self) -> list[Row]:
        table: list[Row] = []
        for name in self.kinds:
            for row in load_table(self.path, name, self.split):
                table.append({"file": name, **row})
        return table

    def num_expected(self) -> int:
        return self.num_items * len(self.kinds) // len(FOLDERS)  # each kind has as many

    def visuals(self, record: Record) -> Sequence[Media]:
        folder = FOLDERS[str(record["file"])]
        name = text(record, "video")
        for start in ("", "video/", "data0613/"):  # where copies of the branch keep the folders
            path = path_below(self.media, f"{start}{folder}/{name}")
            if path.exists():
                return [Media(self.video, path)]
        raise BadSample("missing file", f"no video {name} in {self.media}/{folder} or {self.media}/video/{folder}")

    def question(self, record: Record) -> str:
        options = "".join(f"({letter}) {option}\n" for letter, option in self.lettered_options(record))
        return f"Question:{text(record, 'question')}\nOption:\n{options}{self.prompt}"

    def options(self, record: Record) -> list[str]:
        return texts(record, "candidates")

    def right_option(self, record: Record) -> int:
        options = self.options(record)
        answer = record["answer"]
        return options.index(answer) if isinstance(answer, str) and answer in options else -1

    def group(self, record: Record) -> str:
        return f"all/{record['file']}"

    def total(self, scored: Sequence[Scored]) -> dict[str, float]:
        kinds: dict[str, list[float]] = {}
        for item in scored:
            kinds.setdefault(str(item.record["file"]), []).append(item.scores["accuracy"])
        return {"accuracy": fmean(fmean(scores) for scores in kinds.values())}
