"""Annotation files by number, in memory or mapped."""

import json
import multiprocessing
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import interleave as il
from interleave.core.sample import BROKEN_FIELD
from interleave.data import annotation_files
from interleave.data import annotations as records
from interleave.data.annotations import Records, read_json

SOME = [{"id": i, "text": f'Grüße, 世界 [{{}}] \\ " {i}', "image": [f"{i}.png"]} for i in range(50)]


@pytest.fixture
def indexed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Everything counts as large, and is read in small pieces."""
    monkeypatch.setattr(records, "IN_MEMORY", 0)
    monkeypatch.setattr(records, "BATCH_ROWS", 7)
    monkeypatch.setenv("INTERLEAVE_CACHE", str(tmp_path / "cache"))
    return tmp_path


def write(path: Path, content: Any, indent: int | None = None) -> Path:
    lines = path.suffix == ".jsonl"
    path.write_text("\n".join(json.dumps(r) for r in content) if lines else json.dumps(content, indent=indent))
    return path


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
@pytest.mark.parametrize("indent", [None, 2])
def test_an_index_holds_what_the_file_holds(name: str, indent: int | None, indexed: Path) -> None:
    path = write(indexed / name, SOME, indent)
    found = Records([path, path], lambda record, file: {"parity": str(record["id"] % 2), "file": file}, "1")
    assert list(found) == SOME + SOME
    assert found[3:5] == SOME[3:5]
    assert found.column("parity").tolist() == [str(r["id"] % 2) for r in SOME + SOME]
    assert set(found.column("file")) == {name}
    assert len(list((indexed / "cache").rglob("*.arrow"))) == 1


def test_small_files_leave_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERLEAVE_CACHE", str(tmp_path / "cache"))
    assert list(Records([write(tmp_path / "a.json", SOME)])) == SOME
    assert not (tmp_path / "cache").exists()


def test_a_changed_file_is_indexed_again(indexed: Path) -> None:
    path = write(indexed / "a.json", SOME)
    assert len(Records([path])) == 50
    write(path, SOME[:3])
    assert len(Records([path])) == 3
    assert len(Records([path], lambda *_: {"a": "b"}, "2").column("a")) == 3


def test_an_index_is_used_again(indexed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(indexed / "a.json", SOME)
    Records([path])
    monkeypatch.setattr(records, "read_records", lambda _: pytest.fail("it was read again"))
    assert list(Records([path])) == SOME


def _third(found: Records) -> Any:
    return found[2]


@pytest.mark.parametrize("large", [True, False])
def test_processes_share_it(large: bool, indexed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not large:
        monkeypatch.setattr(records, "IN_MEMORY", 2**20)
    found = Records([write(indexed / "a.json", SOME)])
    assert list(pickle.loads(pickle.dumps(found))) == SOME
    assert (len(pickle.dumps(found)) < 500) == large, "a large one travels as the name of its file"
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_third, (found,)) == SOME[2]


@given(st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)),
       st.integers(1, 9), st.integers(0, 3))  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_a_list_read_in_pieces_is_the_list(tmp_path_factory: Any, value: Any, piece: int, indent: int) -> None:
    path = tmp_path_factory.mktemp("pieces") / "a.json"
    content = [{"value": value, "id": i} for i in range(3)]
    path.write_text("\n " + json.dumps(content, indent=indent or None, ensure_ascii=bool(indent)) + " \n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(annotation_files, "PIECE", piece)
        assert read_json(path) == content


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "is not JSON"),
        ("[", "is not JSON"),
        ('[{"a": 1}', "is not JSON"),
        ('[{"a": 1},', "is not JSON"),
        ('[{"a": }]', "is not JSON"),
        ('{"a": 1}', "holds no list of records"),
        ("[1]", "item 0 is a int"),
        ('[{"a": 1}] [{"a": 2}]', r"more behind its list, from character 12 on \('\['\)"),
        ('[{"a": 1}]\0', r"more behind its list, from character 11 on"),
        ("[]x", "more behind its list"),
        ('[{"a": 1} {"a": 2}]', r"Expecting ',' delimiter, in item 1 \(character 11\)"),
        ('[{"a": [}]', r"in item 0 \(character 9\)"),
        ('[{"a": ' + "[" * 100_000, "brackets are not closed"),
    ],
)
def test_what_is_no_list_of_records(content: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(il.InputError, match=told) as error:
        read_json(tmp_path / "a.json")
    assert "\n" not in str(error.value)


def test_a_list_without_records(tmp_path: Path) -> None:
    assert len(Records([write(tmp_path / "a.json", [])])) == 0


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for read in (read_json, lambda path: Records([path])):
        with pytest.raises(il.InputError, match=r"annotation file .*none.json does not exist"):
            read(tmp_path / "none.json")


DEEP = "[" * 100_000 + "]" * 100_000
WHOLE = {"id": 1}
BAD_RECORDS = {
    "a list": "[]",
    "a number": "7",
    "a text": '"[{"',
    "nested too deeply": f'{{"a": {DEEP}}}',
}
BAD_LINES = {
    **BAD_RECORDS,
    "cut": '{"a": ',
    "two": '{"a": 1} {"b": 2}',
    "not JSON": "text",
    "a NUL byte": "\0",
}


@pytest.mark.parametrize("piece", [1, 10, 2**20])
@pytest.mark.parametrize("kind", BAD_RECORDS)
def test_a_bad_item_of_a_list_is_one_record_lost(
    kind: str, piece: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if piece == 1 and kind == "nested too deeply":
        pytest.skip("300,000 pieces take minutes")
    monkeypatch.setattr(annotation_files, "PIECE", piece if kind != "nested too deeply" else max(piece, 60_000))
    path = tmp_path / "a.json"
    path.write_text(f'[{json.dumps(WHOLE)}, {BAD_RECORDS[kind]}, {{"id": 3}}]')
    found = Records([path])
    assert (found[0], found[2]) == (WHOLE, {"id": 3})
    with pytest.raises(il.BadSample, match="item 1 is"):
        found[1]
    first, bad, last = read_json(path)
    assert (first, last) == (WHOLE, {"id": 3})
    assert list(bad) == [BROKEN_FIELD]


@pytest.mark.parametrize("kind", BAD_LINES)
def test_a_bad_line_is_one_record_lost(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f'{json.dumps(WHOLE)}\n\n{BAD_LINES[kind]}\n{{"id": 3}}')
    found = Records([path])
    assert (found[0], found[2], len(found)) == (WHOLE, {"id": 3}, 3)
    with pytest.raises(il.BadSample, match=r"a\.jsonl: line 3 is") as bad:
        found[1]
    assert "\n" not in str(bad.value)


def test_a_line_that_is_not_utf_8_is_one_record_lost(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"id": 1}\n{"id": "\xe9"}\n')
    found = Records([tmp_path / "a.jsonl"])
    assert found[0] == WHOLE
    with pytest.raises(il.BadSample, match="line 2 is not JSON: 'utf-8' codec"):
        found[1]
    (tmp_path / "a.json").write_bytes(b'[{"id": "\xe9"}]')
    with pytest.raises(il.InputError, match="is not UTF-8"):
        Records([tmp_path / "a.json"])


def test_a_file_without_a_whole_record_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("[\n{},\n]")
    with pytest.raises(il.InputError, match=r"none of the records can be read: .*a\.jsonl: line 1 is not JSON"):
        Records([tmp_path / "a.jsonl"])


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_a_byte_order_mark_is_read(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / name, SOME)
    path.write_text("\ufeff" + path.read_text())
    assert list(Records([path])) == SOME


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_what_python_cannot_hold_is_mended(name: str, indexed: Path) -> None:
    """Half an emoji, in texts and in names, and a number of 5,000 digits."""
    text = '{"a": "red \\ud83d", "\\udc00": ["\\ud83d\\ude00"], "n": ' + "9" * 5000 + "}"
    path = indexed / name
    path.write_text(text if name == "a.jsonl" else f"[{text}]")
    (found,) = Records([path])
    assert found == {"a": "red \ufffd", "\ufffd": ["\U0001f600"], "n": float("inf")}
    json.dumps(found, ensure_ascii=False).encode()
