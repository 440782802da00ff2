"""What one sample breaks: through ``data check``, training, preferences and evaluation, the rest goes on."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from command_line import TINY
from PIL import Image

from interleave.cli import main

GOOD = 6
TURNS = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "Red."}]


def record(**fields: Any) -> str:
    return json.dumps({"image": "good.png", "conversations": TURNS, **fields})


def avif_with_changed_bytes() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(file, "AVIF")
    content = bytearray(file.getvalue())
    content[len(content) // 3 : len(content) // 2] = b"\xff" * (len(content) // 2 - len(content) // 3)
    return bytes(content)


def write_media(folder: Path) -> None:
    """A good picture and bad ones."""
    folder.mkdir()
    Image.new("RGB", (40, 30), "red").save(folder / "good.png")
    (folder / "broken.avif").write_bytes(avif_with_changed_bytes())
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "DDS")
    (folder / "dds.png").write_bytes(file.getvalue()[:90] + b"\x99" * 40)
    Image.new("1", (60_000, 1)).save(folder / "line.png")
    (folder / "frames").mkdir()


BAD = {
    "a broken AVIF": record(image="broken.avif"),
    "a DDS named png": record(image="dds.png"),
    "a picture that padding makes too large": record(image="line.png"),
    "a name of 5,000 letters": record(image="x" * 5000),
    "a NUL byte in a name": record(image="a\0b"),
    "an image that is a number": record(image=7),
    "an empty folder": record(image=None, video="frames"),
    "no conversations": json.dumps({"image": "good.png"}),
    "a role that is a list": record(conversations=[{"from": ["human"], "value": "<image>"}]),
    "nesting": '{"image": "good.png", "conversations": ' + "[" * 100_000 + "]" * 100_000 + "}",
    "no object": "[1, 2]",
    "no JSON": '{"image": ',
    "half of a placeholder's pictures": record(image=[]),
}
MENDED = {
    "half an emoji": record(conversations=[TURNS[0], {"from": "gpt", "value": "Red \ud83d."}]),
    "a number of 5,000 digits": record()[:-1] + ', "n": ' + "9" * 5000 + "}",
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with ``records.jsonl``, of which ``GOOD`` and those of ``MENDED`` are fine, and ``pics``."""
    write_media(tmp_path / "pics")
    lines = [*MENDED.values(), *BAD.values(), *[record(id=str(i)) for i in range(GOOD)]]
    (tmp_path / "records.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return tmp_path


def source(data: Path) -> list[str]:
    return [
        "dataset=[llava_json]", f"dataset.llava_json.path={data / 'records.jsonl'}",
        f"dataset.llava_json.media={data / 'pics'}", "dataset.llava_json.single=image", "modality.image.fit=pad",
    ]  # fmt: skip


def reasons(path: Path) -> dict[int, str]:
    """Number of a sample -> why it was lost."""
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    return {entry["index"]: entry["reason"] for entry in entries if entry.get("action") in ("left out", "replaced")}


def test_check_names_every_bad_record(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", *source(data), f"--out={data / 'out'}"]) == 1
    assert "Traceback" not in "".join(capsys.readouterr())
    (counts,) = json.loads((data / "out/check.json").read_text()).values()
    assert (counts["read"], counts["fine"]) == (len(BAD) + len(MENDED) + GOOD, len(MENDED) + GOOD)
    assert sorted(reasons(data / "out/bad.jsonl")) == list(range(len(MENDED), len(MENDED) + len(BAD)))
    assert main(["data", "stats", *source(data), f"--out={data / 'out'}"]) == 0


@pytest.mark.parametrize("workers", [0, 2])
def test_training_goes_on(workers: int, data: Path) -> None:
    arguments = [*TINY, *source(data), "trainer.max_steps=12", f"data.num_workers={workers}", f"run={data / 'run'}"]
    assert main(["train", *arguments, "data.sequence_length=128"]) == 0
    lost = reasons(data / "run/ledger.jsonl")
    assert set(lost) <= set(range(len(MENDED), len(MENDED) + len(BAD)))
    assert len(lost) > 3


def test_evaluation_asks_the_rest(data: Path) -> None:
    assert main(["train", *TINY, *source(data), f"run={data / 'run'}"]) == 0
    for task in ("open_answer", "multiple_choice"):
        path = data / f"{task}.jsonl"
        content = (data / "records.jsonl").read_text(encoding="utf-8")
        if task == "multiple_choice":
            good = json.dumps({"question": "<image> Which?", "image": "good.png", "choices": ["a", "b"], "answer": "A"})
            odd = [json.dumps({"question": "<image> Which?", "image": "good.png", "choices": odd, "answer": "A"})
                   for odd in (7, None, {"A": "a"}, [], [["a"]])]  # fmt: skip
            content = "\n".join([*BAD.values(), *odd, good, good])
        path.write_text(content, encoding="utf-8")
        out = data / f"out_{task}"
        asked = [f"task=[{task}]", f"task.{task}.path={path}", f"task.{task}.media={data / 'pics'}", f"out={out}"]
        main(["eval", f"model={data / 'run'}", *asked, "generation={max_new_tokens:2}"])
        replies = [json.loads(line) for line in (out / "replies.jsonl").read_text().splitlines()]
        assert len(replies) == len(content.splitlines())
        fine = [reply for reply in replies if reply["reply"] is not None]
        assert len(fine) >= (GOOD if task == "open_answer" else 2)
        assert all(reply["error"]["message"] for reply in replies if reply["reply"] is None)


def test_preferences_go_on(data: Path) -> None:
    pair = {"image": "good.png", "question": "What?", "chosen": "Red.", "rejected": "Blue."}
    odd = [{**pair, "image": 7}, {**pair, "image": "broken.avif"}, {**pair, "chosen": None}, {"image": "good.png"}, {}]
    lines = [*map(json.dumps, odd), BAD["nesting"], BAD["no JSON"], *[json.dumps({**pair, "id": i}) for i in range(4)]]
    (data / "pairs.jsonl").write_text("\n".join(lines))
    chosen = ["dataset=[preference_json]", f"dataset.preference_json.path={data / 'pairs.jsonl'}",
              f"dataset.preference_json.media={data / 'pics'}", "dataset.preference_json.single=image"]  # fmt: skip
    assert main(["data", "check", *chosen, f"--out={data / 'out'}"]) == 1
    (counts,) = json.loads((data / "out/check.json").read_text()).values()
    assert counts["fine"] == 4
    assert main(["train", *TINY, *chosen, "stage=dpo", f"run={data / 'dpo'}"]) == 0


def test_whatever_a_plugin_raises_is_one_sample_lost(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from interleave_plugins.modality.image import Image as ImageModality

    prepare, seen = ImageModality.prepare, []
    faults = [ZeroDivisionError("by zero"), KeyError("frames"), RecursionError(), MemoryError("1 TB"), AssertionError()]
    faults += [OSError(5, "I/O"), StopIteration(), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad")]

    def failing(self: ImageModality, data: object) -> Any:
        seen.append(data)
        if len(seen) <= len(faults):
            raise faults[len(seen) - 1]
        return prepare(self, data)

    monkeypatch.setattr(ImageModality, "prepare", failing)
    (data / "records.jsonl").write_text("\n".join(record(id=str(i)) for i in range(GOOD + len(faults))))
    assert main(["data", "check", *source(data), f"--out={data / 'out'}"]) == 1
    found = reasons(data / "out/bad.jsonl")
    assert list(found.values()) == [type(fault).__name__ for fault in faults]
    assert list(found) == list(range(len(faults)))
