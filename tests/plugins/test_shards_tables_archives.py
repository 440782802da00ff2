"""Shards, tables and archives give the samples that went in, by number, from workers too."""

import json
import multiprocessing
from itertools import islice
from pathlib import Path
from typing import Any

import datasets as hf
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from coloured_samples import COLOURS, png, rendered, rows, talk, write_tar
from small_models import small_config
from videos import write_video

import interleave as il
from interleave.cli import main
from interleave.data.budget import Budget
from interleave.data.example_source import ExampleSource
from interleave.data.packed_loader import PackedLoader
from interleave.model.assembly import assemble


@pytest.fixture
def plain(tmp_path: Path) -> il.Dataset:
    """The same samples in files: one picture, two, a video, and frames in a folder."""
    media = tmp_path / "media"
    (media / "frames").mkdir(parents=True)
    records: list[dict[str, Any]] = []
    for i, colour in enumerate(COLOURS):
        (media / f"{i}.png").write_bytes(png(colour))
        (media / "frames" / f"{i}.png").write_bytes(png(colour))
        records.append({"id": str(i), "image": f"{i}.png", "conversations": talk(i)})
    write_video(media / "clip.mp4")
    records.append({"id": "two", "image": ["1.png", "2.png"], "conversations": talk(1, "<image> or <image>")})
    records.append({"id": "clip", "video": "clip.mp4", "conversations": talk(2)})
    records.append({"id": "frames", "video": "frames", "conversations": talk(3)})
    records.append({"id": "text", "conversations": talk(4, "")})
    (tmp_path / "records.json").write_text(json.dumps(records))
    return il.datasets.build({"name": "llava_json", "path": str(tmp_path / "records.json"), "media": str(media)})


def test_packed_shards_hold_the_same_samples(plain: il.Dataset, tmp_path: Path) -> None:
    files = [f"dataset.llava_json.path={tmp_path}/records.json", f"dataset.llava_json.media={tmp_path}/media"]
    out = tmp_path / "shards"
    assert main(["data", "pack", "--out", str(out), "dataset=llava_json", *files]) == 0
    shards = il.datasets.build({"name": "shards", "path": str(out), "weights": {"llava_json": 2.0}})
    assert rendered(shards) == rendered(plain)
    part = shards.sources("x")["llava_json"]
    assert (part.weight, sum(part.chunks())) == (2.0, len(plain))
    assert [part[i].id for i in range(len(plain))] == [plain[i].id for i in range(len(plain))]
    assert (out / "lost.jsonl").read_text() == ""
    assert multiprocessing.get_start_method(allow_none=True) in (None, "fork"), "workers of a run begin as they did"


def test_a_scene_of_one_file_is_left_out_of_shards(tmp_path: Path) -> None:
    (tmp_path / "transforms.json").write_text("{}")
    (tmp_path / "chair.ply").write_text("ply")
    scenes = [{"id": name, "scene": name, "conversations": talk(1)} for name in ("transforms.json", "chair.ply")]
    (tmp_path / "records.json").write_text(json.dumps(scenes))
    files = [f"dataset.llava_json.path={tmp_path}/records.json", f"dataset.llava_json.media={tmp_path}"]
    assert main(["data", "pack", "--out", str(tmp_path / "shards"), "dataset=llava_json", *files]) == 1
    lost = [json.loads(line) for line in (tmp_path / "shards/lost.jsonl").read_text().splitlines()]
    assert [(e["id"], e["reason"]) for e in lost] == [("transforms.json", "not packed"), ("chair.ply", "not packed")]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_shards_are_read_by_workers(num_workers: int, plain: il.Dataset, tmp_path: Path) -> None:
    files = [f"dataset.llava_json.path={tmp_path}/records.json", f"dataset.llava_json.media={tmp_path}/media"]
    main(["data", "pack", "--out", str(tmp_path / "shards"), "dataset=llava_json", *files])
    shards = il.datasets.build({"name": "shards", "path": str(tmp_path / "shards/llava_json")})
    assembly = assemble(small_config())
    source = ExampleSource(
        {"a": shards.sources("a")["a"]}, assembly.adapters, assembly.model.llm.tokenizer, assembly.vision
    )
    expected, found = (PackedLoader(source, Budget(400, 1, 99), 0, w) for w in (0, num_workers))
    for one, two in islice(zip(expected, found, strict=False), 3):
        assert one.input_ids.tolist() == two.input_ids.tolist()


def test_what_cannot_be_packed_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "r.json").write_text(json.dumps([{"id": "x", "image": "none.png", "conversations": talk(0)}]))
    files = [f"dataset.llava_json.path={tmp_path}/r.json", f"dataset.llava_json.media={tmp_path}"]
    assert main(["data", "pack", "--out", str(tmp_path / "s"), "dataset=llava_json", *files]) == 1
    assert json.loads((tmp_path / "s/lost.jsonl").read_text())["reason"] == "missing file"
    assert main(["data", "pack", "--out", str(tmp_path / "s"), "dataset=llava_json", *files]) == 2
    assert "is not empty" in capsys.readouterr().err
    for path, told in ((tmp_path, "holds no shards"), (tmp_path / "none", "is no folder")):
        with pytest.raises(il.InputError, match=told):
            il.datasets.build({"name": "shards", "path": str(path)})
    with pytest.raises(il.InputError, match="weights names 'b'"):
        il.datasets.build({"name": "shards", "path": "s3://b/x", "parts": ["a"], "weights": {"b": 1.0}}).sources("")


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    (tmp_path / "parquet").mkdir()
    table = pa.Table.from_pylist(rows())
    pq.write_table(table.slice(0, 5), tmp_path / "parquet" / "0.parquet", row_group_size=2)
    pq.write_table(table.slice(5), tmp_path / "parquet" / "1.parquet", row_group_size=2)
    hf.Dataset.from_list(rows()).cast_column("images", hf.List(hf.Image())).save_to_disk(tmp_path / "arrow")
    return tmp_path


@pytest.mark.parametrize(
    ("path", "stream"), [("parquet", False), ("parquet", True), ("parquet/*.parquet", True), ("arrow", False)]
)
def test_tables_hold_the_same_samples(path: str, stream: bool, tables: Path, plain: il.Dataset) -> None:
    dataset = il.datasets.build({"name": "huggingface", "path": str(tables / path), "stream": stream})
    assert rendered(dataset) == rendered(plain)[: len(rows())]
    assert list(dataset.chunks()) == ([2, 2, 1, 2, 1] if stream else [])


def test_streams_keep_few_row_groups(tables: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset: Any = il.datasets.build({"name": "huggingface", "path": str(tables / "parquet"), "stream": True})
    read = []

    class Counting(pq.ParquetFile):
        def read_row_group(self, number: int) -> Any:
            read.append(number)
            return super().read_row_group(number)

    monkeypatch.setattr("interleave_plugins.dataset.huggingface.ParquetFile", Counting)
    monkeypatch.setattr("interleave_plugins.dataset.huggingface.KEPT", 1)
    for index in (0, 1, 2, 3, 0):
        dataset[index]
    assert len(read) == 3
    assert len(dataset.rows.kept) == 1


@pytest.mark.parametrize("stream", [True, False])
def test_what_is_no_table(stream: bool, tmp_path: Path) -> None:
    with pytest.raises(il.InputError, match=r"no .parquet files|neither a saved data set nor Parquet"):
        il.datasets.build({"name": "huggingface", "path": str(tmp_path), "stream": stream})


def test_archives_hold_the_same_samples(plain: il.Dataset, tmp_path: Path) -> None:
    for archive, numbers in (("a.tar", range(4)), ("b.tar", range(4, 7))):
        members: dict[str, bytes] = {}
        for i in numbers:
            members[f"{i}.json"] = json.dumps({"id": str(i), "conversations": talk(i)}).encode()
            members[f"{i}.png"] = png(COLOURS[i])
        write_tar(tmp_path / archive, members)
    two = {"two.json": json.dumps({"conversations": talk(1, "<image> or <image>")}).encode(),
           "two.1.png": png("blue"), "two.0.png": png("green")}  # fmt: skip
    clip = {"clip.json": json.dumps({"conversations": talk(2)}).encode(),
            "clip.mp4": (tmp_path / "media" / "clip.mp4").read_bytes()}  # fmt: skip
    write_tar(tmp_path / "c.tar", {**two, **clip})
    dataset = il.datasets.build({"name": "webdataset", "path": f"{tmp_path}/*.tar"})
    assert rendered(dataset) == rendered(plain)[:9]
    assert dataset.chunks() == [4, 3, 2]
    assert dataset.id(7) == "two"


def test_archives_of_captions(tmp_path: Path) -> None:
    texts = {"x/1.txt": b"a red thing\n", "x/2.json": b"{", "x/3.json": b"[]"}
    write_tar(tmp_path / "a.tar", {"x/1.jpg": png("red"), **texts})
    dataset = il.datasets.build({"name": "webdataset", "path": f"{tmp_path}/a.tar"})
    assert [t.content[-1] for t in dataset[0].messages][1] == "a red thing"
    for index in (1, 2):
        with pytest.raises(il.BadSample, match="record of x/"):
            dataset[index]
    (tmp_path / "b.tar").write_bytes(np.random.default_rng(0).bytes(2000))
    with pytest.raises(il.InputError, match="is no tar archive"):
        il.datasets.build({"name": "webdataset", "path": f"{tmp_path}/b.tar"})
    with pytest.raises(il.InputError, match="no file fits"):
        il.datasets.build({"name": "webdataset", "path": f"{tmp_path}/z*.tar"})


def test_records_of_the_benchmark_are_read(tmp_path: Path, shared: Path) -> None:
    """The published form, with the keys that training data does not have; choices may be null."""
    record = yaml.safe_load((shared / "reference" / "interleave_bench.yaml").read_text())["sample"]
    assert record["choice_list"] is None
    for path, colour in zip(record["image"], COLOURS, strict=False):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(png(colour))
    chosen = {**record, "sample_id": "b", "choice_list": ["mountains", "sea"],
              "metadata": {**record["metadata"], "question_type": "multi-choice"}}  # fmt: skip
    (tmp_path / "bench.json").write_text(json.dumps([record, chosen]))
    dataset = il.datasets.build({"name": "llava_json", "path": str(tmp_path / "bench.json"), "media": str(tmp_path)})
    assert [dataset.id(i) for i in range(2)] == ["1", "b"]
    sample = dataset[0]
    assert isinstance(sample, il.Sample)
    assert (sample.source, [turn.role for turn in sample.messages]) == ("MagicBrush", ["user", "assistant"])
    shown = [part.data.name for part in sample.messages[0].content if isinstance(part, il.Media)]
    assert shown == ["1.jpg", "2.jpg"]
    assert len(rendered(dataset)) == 2
