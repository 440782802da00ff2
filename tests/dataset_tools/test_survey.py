"""``interleave data``: what check, stats and preview say of data that is known to the last sample."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import m4_stand_in as standin
import pytest
from interleave_plugins.dataset.base.m4_sets import TABLE
from PIL import Image
from small_models import small_config

import interleave as il
from interleave.cli import main
from interleave.data.annotations import Records
from interleave.data.example_source import ExampleSource, flattened
from interleave.model.assembly import assemble

BAD = [
    ("missing file", {"image": "none.png"}),
    ("not an image", {"image": "text.png"}),
    ("placeholders", {"image": ["red.png", "red.png"]}),
    ("empty answer", {"image": "red.png", "answer": " "}),
    ("path outside media", {"image": "../red.png"}),
]


def record(number: int, image: Any, answer: str = "red") -> dict[str, Any]:
    turns = [{"from": "human", "value": "<image>which colour?"}, {"from": "gpt", "value": answer}]
    return {"id": str(number), "image": image, "conversations": turns}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three good samples, one of them long, and one of each kind of bad one."""
    Image.new("RGB", (6, 4), "red").save(tmp_path / "red.png")
    (tmp_path / "text.png").write_text("no picture")
    good = [record(0, "red.png"), record(1, "red.png"), record(2, "red.png", "red " * 400)]
    bad = [record(3 + i, **fields) for i, (_, fields) in enumerate(BAD)]
    (tmp_path / "records.json").write_text(json.dumps(good + bad))
    (tmp_path / "good.json").write_text(json.dumps(good))
    return tmp_path


def look(action: str, folder: Path, *more: str, file: str = "records.json") -> int:
    files = [f"dataset.llava_json.path={folder / file}", f"dataset.llava_json.media={folder}"]
    return main(["data", action, "--out", str(folder / "out"), "dataset=llava_json", *files, *more])


@pytest.mark.parametrize("num_workers", ["0", "2"])
def test_check_finds_every_bad_sample_and_nothing_else(num_workers: str, folder: Path, capsys: Any) -> None:
    assert look("check", folder, "--num-workers", num_workers, "data.sequence_length=500") == 1
    entries = [json.loads(line) for line in (folder / "out/bad.jsonl").read_text().splitlines()]
    assert [(e["index"], e["id"], e["reason"]) for e in entries] == [
        (2, "2", "over-length"),
        *((3 + i, str(3 + i), reason) for i, (reason, _) in enumerate(BAD)),
    ]
    row = json.loads((folder / "out/check.json").read_text())["llava_json"]
    assert (row["samples"], row["read"], row["fine"]) == (8, 8, 2)
    told = capsys.readouterr().out
    for column in ("missing", "placeholders", "nothing to learn", "too large", "broken"):
        assert column in told
    assert "6 samples cannot be used" in told


def test_what_a_check_found_is_left_out_by_quarantine(folder: Path) -> None:
    assert look("check", folder) == 1
    left = f"data.quarantine={folder}/out/bad.jsonl"
    small = ["trainer.max_steps=1", "callbacks.progress=null", "data.sequence_length=2000", "logger=none"]
    files = [f"dataset.llava_json.path={folder}/records.json", f"dataset.llava_json.media={folder}"]
    assert main(["train", "dataset=llava_json", *files, *small, left, f"run={folder}/run"]) == 0
    ledger = folder / "run/ledger.jsonl"
    assert not ledger.exists() or not ledger.read_text()


def test_only_real_problems_are_a_failure(folder: Path) -> None:
    """What is too large is left out by default, which is no problem; with over_length=error it is."""
    assert look("check", folder, "data.sequence_length=500", file="good.json") == 0
    assert look("check", folder, "data.sequence_length=500", "data.over_length=error", file="good.json") == 1
    (folder / "none.json").write_text("[]")
    assert look("check", folder, file="none.json") == 1


def test_check_counts_against_the_table_and_shows_repairs(tmp_path: Path, capsys: Any) -> None:
    standin.write(tmp_path / "m4", 60)
    data = [
        "dataset=m4_instruct",
        f"dataset.m4_instruct.root={tmp_path}/m4",
        "dataset.m4_instruct.domains=[multi_image]",
    ]
    assert main(["data", "check", "--out", str(tmp_path / "out"), "--limit", "1", *data]) == 0
    rows = json.loads((tmp_path / "out/check.json").read_text())
    assert {n: r["expected"] for n, r in rows.items()} == {
        n: e.expected for n, e in TABLE.items() if e.domain == "multi_image"
    }
    assert rows["MMChat_Twitter_Post"]["repaired"] == {"swapped roles": 1, "one placeholder for several images": 1}
    assert "repaired: 1 swapped roles, 1 one placeholder for several images" in capsys.readouterr().out
    assert main(["data", "check", "--out", str(tmp_path / "out"), "--limit", "1", "--strict", *data]) == 1


def test_stats_count_what_was_rendered(folder: Path) -> None:
    assert look("stats", folder, file="good.json") == 0
    assembly = assemble(small_config())
    node = {"name": "llava_json", "path": str(folder / "good.json"), "media": str(folder)}
    source = ExampleSource(
        flattened({"a": il.datasets.build(node)}), assembly.adapters, assembly.model.llm.tokenizer, assembly.vision
    )
    learned = sum(int((e.labels >= 0).sum()) for i in range(3) if isinstance(e := source.example("a", i), il.Example))
    found = json.loads((folder / "out/stats.json").read_text())["groups"]["all"]
    assert (found["samples"], found["visuals"], found["visuals/multipatch"]) == (3, 3, 3)
    assert round(found["learned"] * found["tokens"]) == learned  # the text is the same at any size of pictures
    with Image.open(folder / "out/stats.png") as plot:
        assert plot.width > 800


def test_preview_shows_tokens_mask_pictures_and_borders_on_one_page(folder: Path) -> None:
    (folder / "two.json").write_text(json.dumps([record(0, "red.png", "<b>red</b>"), record(1, "red.png", "blue")]))
    assert look("preview", folder, "--rows", "1", "data.sequence_length=300", file="two.json") == 0
    page = (folder / "out/preview.html").read_text()
    assert not re.search(r'(?:src|href)="(?!data:image|#)', page), "it asks for nothing outside"
    assert page.count('<section class="document"') >= 2
    assert "data:image/png;base64" in page
    assert "positions 0–" in page
    learned = [
        "".join(re.findall(r'<span class="t l(?: s)?(?: b)?">(.*?)</span>', part)) for part in page.split("<section")
    ]
    assert {text.removesuffix("&lt;|end|&gt;") for text in learned[1:]} == {"&lt;b&gt;red&lt;/b&gt;", "blue"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["data.sequence_length=0"], "data.sequence_length is 0"),
        (["data.batch_size=0", "data.sources={llava_json:{wieght:2}}"], "no option 'wieght'; did you mean 'weight'"),
        (["data.sources={llava:{weight:2}}"], "there is no source 'llava'; did you mean 'llava_json'"),
        (["data.quarantine=none.jsonl"], "none.jsonl cannot be read"),
        (["modality.video.reader=vhs"], "modality.video.reader is 'vhs'"),
        (["dataset.llava_json.media=nowhere"], "the media folder nowhere does not exist"),
        (["dataset.llava_json.path=."], "annotation file . is a folder"),
    ],
)
def test_wrong_uses_are_one_line(arguments: list[str], told: str, folder: Path, capsys: Any) -> None:
    assert look("check", folder, *arguments) == 2
    (line,) = [text for text in capsys.readouterr().err.splitlines() if text.startswith("interleave:")]
    assert told in line


def test_nothing_to_look_at(capsys: Any) -> None:
    assert main(["data", "check", "dataset=[]"]) == 2
    assert "there is no data to look at" in capsys.readouterr().err
    for wrong in (["--limit", "0"], ["--limt", "3"], ["dataset=mini", "--wrkers", "3"]):
        with pytest.raises(SystemExit, match="2"):
            main(["data", "check", *wrong])


@contextmanager
def without_rights(path: Path) -> Iterator[None]:
    """Root may read everything, whatever a file says: there the test goes on as nobody."""
    import os

    path.chmod(0)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        path.chmod(0o755)


def test_what_may_not_be_read(tmp_path: Path) -> None:
    for parent in [tmp_path, *tmp_path.parents]:
        if parent.owner() == "root" and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o055)
    (tmp_path / "a.json").write_text("[]")
    with without_rights(tmp_path / "a.json"), pytest.raises(il.InputError, match=r"a.json cannot be read: Permission"):
        Records([tmp_path / "a.json"])
    (tmp_path / "frames").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "frames/0.png")
    with without_rights(tmp_path / "frames"):
        for data, read in ((tmp_path / "frames/0.png", il.load_image), (tmp_path / "frames", il.list_frames)):
            with pytest.raises(il.BadSample, match="Permission denied") as bad:
                read(data)
            assert bad.value.reason == "unreadable file"


@pytest.mark.parametrize(
    "changed",
    [
        {"conversations": "hello"}, {"conversations": [5]}, {"conversations": [None, {}]}, {"conversations": {}},
        {"conversations": [{"from": "human", "value": 5}]}, {"conversations": [{"from": ["human"], "value": "x"}]},
        {"image": 5}, {"image": [None]}, {"image": {"bytes": None}}, {"image": "x" * 5000}, {"image": "a\0b"},
        {"image": [["red.png"], "red.png"]}, {"video": 3.5, "image": None}, {"metadata": "x", "image": "none.png"},
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["llava_json", "m4_instruct"])
def test_records_of_any_shape_are_bad_samples(name: str, changed: dict[str, Any], folder: Path) -> None:
    (folder / "odd.json").write_text(json.dumps([record(0, "red.png") | changed]))
    nodes = {
        "llava_json": {"name": name, "path": str(folder / "odd.json"), "media": str(folder)},
        "m4_instruct": {"name": name, "root": str(folder), "annotations": ["odd.json"]},
    }
    assembly = assemble(small_config())
    parts = flattened({"a": il.datasets.build(nodes[name])})
    source = ExampleSource(parts, assembly.adapters, assembly.model.llm.tokenizer, assembly.vision)
    (part,) = [name for name, data in parts.items() if len(data)]
    assert isinstance(source.example(part, 0), il.BadSample)
