"""Small question files in the true schema of each benchmark on videos and single images, with small media.

Answers go round, so that a reply that is always the same is right as often as chance says.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import datasets
from interleave_plugins.task.mme import COGNITION, PERCEPTION
from interleave_plugins.task.mvbench import FOLDERS
from PIL import Image

Row = dict[str, object]
"""A row of a table, or an object of a JSON file."""
Options = dict[str, str]
"""``path`` and ``media`` of a task's config node."""


def write(name: str, folder: Path) -> Options:
    """Write the files of the task that is registered as ``name``. Returns the options that read them."""
    return WRITERS[name](folder)


def frames(folder: Path) -> Path:
    """Write a video as a folder of two frames. Returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(2):
        Image.new("RGB", (12, 8), (90 * i, 40, 40)).save(folder / f"{i}.png")
    return folder


def picture(shade: int = 0) -> bytes:
    """A PNG file of 12 x 8 pixels of one colour, whose red is ``shade``."""
    buffer = io.BytesIO()
    Image.new("RGB", (12, 8), (shade % 256, 40, 40)).save(buffer, "PNG")
    return buffer.getvalue()


def parquet(rows: list[Row], folder: Path, *pictures: str) -> str:
    """Write a Parquet file as the hub has it. pictures: columns that hold pictures' files. Returns its folder."""
    table = datasets.Dataset.from_list(rows)
    for column in pictures:
        table = table.cast_column(column, datasets.Image())
    folder.mkdir(parents=True, exist_ok=True)
    table.to_parquet(folder / "test-00000-of-00001.parquet")
    return str(folder)


def lines(path: Path, rows: list[Row]) -> str:
    """Write one JSON object a line. Returns the path."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def listed(path: Path, rows: object) -> str:
    """Write one JSON value. Returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows))
    return str(path)


def nextqa_rows(open_ended: bool = False) -> list[Row]:
    """A question of each kind: causal, temporal and descriptive ones, about two videos."""
    kinds = ["CW", "CH", "TN", "TC", "DL"]
    rows = []
    for i, kind in enumerate(kinds):
        row = {"video": 4010069381 + i % 2, "frame_count": 2, "width": 12, "height": 8, "question": f"what is {i}"}
        choices = {f"a{k}": f"thing {k}" for k in range(5)}
        answer = {"answer": f"thing {i}", "additional_ref_answer": "toy" if i else ""} if open_ended else {"answer": i}
        rows.append({**row, **answer, "qid": i, "type": kind, **({} if open_ended else choices)})
    return rows


def nextqa(open_ended: bool) -> Callable[[Path], Options]:
    """The writer of one of NExT-QA's two forms."""

    def write_files(folder: Path) -> Options:
        rows = nextqa_rows(open_ended)
        for row in rows:
            frames(folder / "NExTVideo" / "1150" / str(row["video"]))
        with (folder / "test.csv").open("w", newline="") as file:
            table = csv.DictWriter(file, list(rows[0]))
            table.writeheader()
            table.writerows(rows)
        return {"path": str(folder / "test.csv"), "media": str(folder / "NExTVideo")}

    return write_files


def mvbench(folder: Path) -> Options:
    for i, (kind, place) in enumerate(FOLDERS.items()):
        rows = [{"video": f"clip{k}", "question": f"what is {k}?", "candidates": ["red", "blue"],
                 "answer": ("red", "blue")[(k + i) % 2]} for k in range(2)]  # fmt: skip
        listed(folder / "json" / f"{kind}.json", rows)
        for k in range(2):
            frames(folder / "video" / place / f"clip{k}")
    return {"path": str(folder / "json"), "media": str(folder)}


def activitynet_qa(folder: Path) -> Options:
    questions = [{"video_name": "1QIUV7WYKXg", "question": f"is it {i}", "question_id": f"v_1Q_{i}"} for i in range(3)]
    answers = [{"answer": ("yes", "no")[i % 2], "type": 3, "question_id": f"v_1Q_{i}"} for i in range(3)]
    listed(folder / "test_q.json", questions)
    listed(folder / "test_a.json", answers)
    frames(folder / "all_test" / "v_1QIUV7WYKXg")
    return {"path": str(folder), "media": str(folder / "all_test")}


def vdd(folder: Path) -> Options:
    frames(folder / "Test_Videos" / "v_p1QGn0IzfW0")
    rows = [{"video_name": "v_p1QGn0IzfW0", "question": "Describe the video.", "answer": "A square grows."}]
    return {"path": parquet(rows, folder / "rows"), "media": str(folder / "Test_Videos")}


def videochatgpt(folder: Path) -> Options:
    names = ["v_a", "v_b"]
    for name in names:
        frames(folder / "Test_Videos" / name)
    single = [{"Q": f"what is in {name}?", "A": f"a square of {name}", "video_name": name} for name in names]
    listed(folder / "generic_qa.json", single)
    listed(folder / "temporal_qa.json", single[:1])
    listed(folder / "consistency_qa.json", [{"Q1": f"which form in {n}?", "Q2": f"what shape in {n}?", "A": "a square",
                                             "video_name": n} for n in names])  # fmt: skip
    return {"path": str(folder), "media": str(folder / "Test_Videos")}


def video_mme(folder: Path) -> Options:
    rows = []
    for i, duration in enumerate(("short", "medium", "long", "short")):
        frames(folder / "data" / f"fFjv93ACGo{i}")
        rows.append({
            "video_id": f"00{i}", "duration": duration, "domain": "Knowledge", "sub_category": "Law",
            "url": "", "videoID": f"fFjv93ACGo{i}", "question_id": f"00{i}-1", "task_type": "Counting Problem",
            "question": "How many?", "options": ["A. One.", "B. Two.", "C. Three.", "D. Four."], "answer": "ABCD"[i],
        })  # fmt: skip
    return {"path": parquet(rows, folder / "rows"), "media": str(folder / "data")}


def ai2d(folder: Path) -> Options:
    rows = [{"question": "which?", "options": ["sun", "moon", "earth", "mars"], "answer": str(i), "image": picture(i)}
            for i in range(4)]  # fmt: skip
    return {"path": parquet(rows, folder / "rows", "image")}


def chartqa(folder: Path) -> Options:
    (folder / "png").mkdir()
    for name, label in (("human", "14"), ("augmented", "Blue")):
        (folder / "png" / f"{name}.png").write_bytes(picture())
        listed(folder / f"test_{name}.json", [{"imgname": f"{name}.png", "query": "How much?", "label": label}])
    return {"path": str(folder), "media": str(folder / "png")}


def docvqa(folder: Path) -> Options:
    (folder / "documents").mkdir()
    (folder / "documents" / "xnbl0037_1.png").write_bytes(picture())
    data = [{"questionId": 49153, "question": "What is the amount?", "question_types": ["handwritten"], "docId": 14465,
             "image": "documents/xnbl0037_1.png", "ucsf_document_id": "xnbl0037", "ucsf_document_page_no": "1",
             "answers": ["$0.28", "0.28"], "data_split": "val"}]  # fmt: skip
    whole = {"dataset_name": "SP-DocVQA", "dataset_version": "1.0", "dataset_split": "val", "data": data}
    return {"path": listed(folder / "val_v1.0.json", whole), "media": str(folder)}


def mme(folder: Path) -> Options:
    """The authors' folders: five of the kinds keep pictures and questions apart."""
    pair = "Is there a dog? Please answer yes or no.\tYes\nIs there a cat? Please answer yes or no.\tNo\n"
    in_two_folders = {"artwork", "celebrity", "landmark", "posters", "scene"}
    for kind in (*PERCEPTION, *COGNITION):
        images = folder / kind / ("images" if kind in in_two_folders else "")
        questions = folder / kind / ("questions_answers_YN" if kind in in_two_folders else "")
        for target in (images, questions):
            target.mkdir(parents=True, exist_ok=True)
        for i in range(2):
            (images / f"000{i}.jpg").write_bytes(picture(i))
            (questions / f"000{i}.txt").write_text(pair)
    return {"path": str(folder), "media": str(folder)}


def mme_table(folder: Path) -> Options:
    """The same questions as one table, as a copy on the hub has them."""
    rows = [{"question_id": f"{kind}/000{i}.png", "image": picture(i), "category": kind, "answer": answer,
             "question": f"Is there a {animal}? Please answer yes or no."}
            for kind in (*PERCEPTION, *COGNITION) for i in range(2)
            for animal, answer in (("dog", "Yes"), ("cat", "No"))]  # fmt: skip
    return {"path": parquet(rows, folder / "rows", "image")}


def scienceqa(folder: Path) -> Options:
    rows = [{"image": picture(i), "question": "Which?", "choices": ["north", "south"], "answer": i, "hint": "Look." * i,
             "task": "closed choice", "grade": "grade2", "subject": ("natural science", "social science")[i],
             "topic": "geography", "category": "maps", "skill": "read", "lecture": "", "solution": ""}
            for i in range(2)]  # fmt: skip
    return {"path": parquet(rows, folder / "rows", "image")}


def scienceqa_problems(folder: Path) -> Options:
    """The authors' file: a question with a picture, one without, and one that is not of the test."""
    choice = {"question": "Which?", "choices": ["north", "south"], "answer": 0}
    problem = {**choice, "hint": "", "subject": "social science"}
    (folder / "test" / "11").mkdir(parents=True)
    (folder / "test" / "11" / "image.png").write_bytes(picture())
    problems = {
        "11": {**problem, "image": "image.png", "split": "test"},
        "12": {**problem, "image": None, "split": "test"},
        "13": {**problem, "image": "image.png", "split": "train"},
    }
    return {"path": listed(folder / "problems.json", problems), "media": str(folder)}


def pope(folder: Path) -> Options:
    """The authors' files, whose lines are JSON and whose suffix says that the file is."""
    (folder / "val2014").mkdir()
    (folder / "val2014" / "COCO_val2014_000000310196.jpg").write_bytes(picture())
    (folder / "coco").mkdir()
    for kind in ("random", "popular", "adversarial"):
        rows = [{"question_id": i + 1, "image": "COCO_val2014_000000310196.jpg", "text": f"Is there a {kind} {i}?",
                 "label": ("yes", "no")[i % 2]} for i in range(4)]  # fmt: skip
        lines(folder / "coco" / f"coco_pope_{kind}.json", rows)
    return {"path": str(folder / "coco"), "media": str(folder / "val2014")}


def textvqa(folder: Path) -> Options:
    rows = [{"image_id": "003a8ae2ef43b901", "question_id": 34602, "question": "what is the brand?", "image": picture(),
             "question_tokens": ["what"], "answers": ["Dakota"] * 9 + ["clos"], "ocr_tokens": ["DAKOTA"]}]  # fmt: skip
    return {"path": parquet(rows, folder / "rows", "image")}


def mmmu_rows() -> Iterator[Row]:
    """Two questions with choices, one of which is a picture, and an open one; each has seven columns of pictures."""
    base = {"explanation": "", "img_type": "['Tables']", "topic_difficulty": "Easy", "subfield": "x"}
    pictures = {f"image_{i}": None for i in range(3, 8)} | {"image_1": picture(1), "image_2": picture(2)}
    question = "<image 1> What follows, {}?"
    for i, subject in enumerate(("Accounting", "Math")):
        yield {"id": f"validation_{subject}_{i + 1}", "question": question.format(i), "answer": "AB"[i],
               "options": "['1', 'see <image 2>']", "question_type": "multiple-choice", **base, **pictures}  # fmt: skip
    yield {"id": "validation_Computer_Science_3", "question": question.format(2), "options": "[]", "answer": "1,024.5",
           "question_type": "open", **base, **pictures}  # fmt: skip


def mmmu(folder: Path) -> Options:
    return {"path": parquet(list(mmmu_rows()), folder / "rows", *(f"image_{i}" for i in range(1, 8)))}


WRITERS: Mapping[str, Callable[[Path], Options]] = {
    "nextqa_mc": nextqa(open_ended=False), "nextqa_oe": nextqa(open_ended=True), "mvbench": mvbench,
    "activitynet_qa": activitynet_qa, "vdd": vdd, "videochatgpt": videochatgpt, "video_mme": video_mme, "ai2d": ai2d,
    "chartqa": chartqa, "docvqa": docvqa, "mme": mme, "scienceqa_img": scienceqa, "pope": pope, "textvqa": textvqa,
    "mmmu": mmmu,
}  # fmt: skip
