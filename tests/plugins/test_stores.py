"""Shards, tables and archives in a store that speaks S3: a real server of the protocol, on this machine alone."""

import json
import socket
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from coloured_samples import COLOURS, png, rendered, rows, talk, write_tar
from moto.server import ThreadedMotoServer
from small_models import small_config

import interleave as il
from interleave.cli import main
from interleave.data.budget import Budget
from interleave.data.example_source import ExampleSource, flattened
from interleave.data.packed_loader import PackedLoader
from interleave.model.assembly import assemble

fsspec = pytest.importorskip("fsspec")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    yield f"http://127.0.0.1:{port}"
    server.stop()


@pytest.fixture
def store(endpoint: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Any:
    """A file system with an empty bucket named ``photos``."""
    for name, value in (("ACCESS_KEY_ID", "test"), ("SECRET_ACCESS_KEY", "test"), ("DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    files = fsspec.filesystem("s3", endpoint_url=endpoint, skip_instance_cache=True)
    if files.exists("photos"):
        files.rm("photos", recursive=True)
    files.mkdir("photos")
    return files


@pytest.fixture
def plain(tmp_path: Path) -> il.Dataset:
    """The same samples in files."""
    (tmp_path / "media").mkdir()
    records = []
    for i, colour in enumerate(COLOURS):
        (tmp_path / "media" / f"{i}.png").write_bytes(png(colour))
        records.append({"id": str(i), "image": f"{i}.png", "conversations": talk(i)})
    records.append({"id": "two", "image": ["1.png", "2.png"], "conversations": talk(1, "<image> or <image>")})
    (tmp_path / "records.json").write_text(json.dumps(records))
    node = {"name": "llava_json", "path": str(tmp_path / "records.json"), "media": str(tmp_path / "media")}
    return il.datasets.build(node)


def pack(folder: Path, out: str) -> int:
    files = [f"dataset.llava_json.path={folder}/records.json", f"dataset.llava_json.media={folder}/media"]
    return main(["data", "pack", "--out", out, "dataset=llava_json", *files])


def batches(dataset: il.Dataset, num_workers: int) -> list[Any]:
    assembly = assemble(small_config())
    source = ExampleSource(flattened({"a": dataset}), assembly.adapters, assembly.model.llm.tokenizer, assembly.vision)
    return [
        (b.input_ids.tolist(), b.pixel_values.sum().item())
        for b in islice(PackedLoader(source, Budget(400, 1, 99), 0, num_workers), 3)
    ]


def test_a_copied_folder_of_shards_is_read_by_workers(
    store: Any, endpoint: str, plain: il.Dataset, tmp_path: Path
) -> None:
    assert pack(tmp_path, str(tmp_path / "shards")) == 0
    store.put(f"{tmp_path}/shards/", "photos/shards", recursive=True)
    options = {"storage": {"endpoint_url": endpoint}, "cache": str(tmp_path / "cache")}
    node = {"name": "shards", "path": "s3://photos/shards", "parts": ["llava_json"], **options}
    assert rendered(il.datasets.build(node)) == rendered(plain)
    whole = {**node, "path": "s3://photos/shards/llava_json", "parts": None, "cache": str(tmp_path / "second")}
    assert batches(il.datasets.build(whole), 2) == batches(plain, 0)


def test_shards_are_packed_into_the_store(
    store: Any, endpoint: str, plain: il.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    assert pack(tmp_path, "s3://photos/packed") == 0
    assert store.exists("photos/packed/llava_json/index.json")
    node = {"name": "shards", "path": "s3://photos/packed", "parts": ["llava_json"], "cache": str(tmp_path / "cache")}
    assert rendered(il.datasets.build(node)) == rendered(plain)
    assert pack(tmp_path, "s3://photos/packed") == 2
    assert "interleave: s3://photos/packed is not empty" in capsys.readouterr().err


@pytest.mark.parametrize("num_workers", [0, 2])
def test_tables_and_archives_are_streamed(
    num_workers: int, store: Any, endpoint: str, plain: il.Dataset, tmp_path: Path
) -> None:
    table = pa.Table.from_pylist(rows())
    for number, part in enumerate((table.slice(0, 5), table.slice(5))):
        pq.write_table(part, tmp_path / f"{number}.parquet", row_group_size=2)
        store.put(str(tmp_path / f"{number}.parquet"), f"photos/tables/{number}.parquet")
    for archive, numbers in (("a.tar", range(4)), ("b.tar", range(4, 7))):
        members: dict[str, bytes] = {}
        for i in numbers:
            members[f"{i}.json"] = json.dumps({"id": str(i), "conversations": talk(i)}).encode()
            members[f"{i}.png"] = png(COLOURS[i])
        write_tar(tmp_path / archive, members)
        store.put(str(tmp_path / archive), f"photos/archives/{archive}")
    own = {"storage": {"endpoint_url": endpoint}}
    for path in ("s3://photos/tables/*.parquet", "s3://photos/tables"):
        found = il.datasets.build({"name": "huggingface", "path": path, "stream": True, **own})
        assert rendered(found) == rendered(plain)
    assert batches(found, num_workers) == batches(
        il.datasets.build({"name": "huggingface", "path": str(tmp_path), "stream": True}), 0
    )
    archives = il.datasets.build({"name": "webdataset", "path": "s3://photos/archives/*.tar", **own})
    assert rendered(archives) == rendered(plain)[:7]
    local = il.datasets.build({"name": "webdataset", "path": str(tmp_path)})
    assert batches(archives, num_workers) == batches(local, 0)


@pytest.mark.parametrize(
    "node",
    [
        {"name": "huggingface", "path": "s3://photos/none/*.parquet", "stream": True},
        {"name": "webdataset", "path": "s3://photos/none/*.tar"},
        {"name": "webdataset", "path": "s3://no-bucket/*.tar"},
        {"name": "shards", "path": "s3://photos/none"},
    ],
)
def test_what_the_store_does_not_hold_is_one_line(node: Any, store: Any, endpoint: str, tmp_path: Path) -> None:
    more = {"cache": str(tmp_path / "cache")} if node["name"] == "shards" else {}
    with pytest.raises(il.InputError) as error:
        len(il.datasets.build({**node, **more, "storage": {"endpoint_url": endpoint}}))
    assert str(node["path"]) in str(error.value)
    assert "\n" not in str(error.value)


def test_what_vanishes_from_the_store_is_a_bad_sample(store: Any, endpoint: str, tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", {"x.txt": b"red", "x.png": png("red")})
    pq.write_table(pa.Table.from_pylist(rows()), tmp_path / "a.parquet")
    for name in ("a.tar", "a.parquet"):
        store.put(str(tmp_path / name), f"photos/{name}")
    own = {"storage": {"endpoint_url": endpoint}}
    nodes = ({"name": "webdataset", "path": "s3://photos/a.tar"},
             {"name": "huggingface", "path": "s3://photos/a.parquet", "stream": True})  # fmt: skip
    found = [il.datasets.build({**node, **own}) for node in nodes]
    store.rm("photos", recursive=True)
    for dataset in found:
        with pytest.raises(il.BadSample) as bad:
            dataset[0]
        assert bad.value.reason == "unreadable file"


def test_a_store_whose_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    with pytest.raises(il.InputError, match=r"pip install interleave\[s3\]"):
        il.datasets.build({"name": "webdataset", "path": "s3://bucket/*.tar"})
