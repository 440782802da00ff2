"""What is written down of samples that were not used as they stand in the data."""

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import interleave as il
from interleave.core.sample import Note
from interleave.data.data_totals import DataTotals
from interleave.data.ledger import Entry, Ledger, read_quarantine


def entry(index: int, action: str = "replaced", reason: str = "missing file") -> Entry:
    return Entry("m4", index, f"id-{index}", reason, f"{index}.png does not exist", action)


def test_each_sample_stands_in_it_once_for_each_reason(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    for e in (entry(1), entry(1), entry(2), entry(2, reason="placeholders")):
        ledger.add(e)
    ledger.note("m4", 3, "id-3", [Note("swapped roles", "roles follow the turns", "repaired")])
    lines = [json.loads(line) for line in (tmp_path / "ledger.jsonl").read_text().splitlines()]
    assert [(x["source"], x["index"], x["id"], x["reason"], x["action"]) for x in lines] == [
        ("m4", 1, "id-1", "missing file", "replaced"),
        ("m4", 2, "id-2", "missing file", "replaced"),
        ("m4", 2, "id-2", "placeholders", "replaced"),
        ("m4", 3, "id-3", "swapped roles", "repaired"),
    ]
    assert ledger.summary() == "2 samples lost: 2 missing file, 1 placeholders; 1 sample repaired: 1 swapped roles"


def test_too_many_lost_samples_stop_the_run_with_the_list() -> None:
    ledger = Ledger(max_bad=1)
    ledger.add(entry(1))
    ledger.add(entry(5, "repaired"))
    with pytest.raises(il.InputError, match=r"2 of 0 .* data.max_bad is 1: m4\[1\] 1.png does.*; m4\[2\] 2.png"):
        ledger.add(entry(2))


def test_a_share_counts_what_was_read() -> None:
    ledger = Ledger(max_bad=0.1)
    ledger.add(entry(0))  # one of the first ten is a tenth
    ledger.read = 20
    ledger.add(entry(1))
    with pytest.raises(il.InputError, match=r"3 of 20 samples cannot be used, and data.max_bad is 0\.1"):
        ledger.add(entry(2))


def test_none_may_be_lost_where_the_limit_is_nothing() -> None:
    with pytest.raises(il.InputError, match="1 of 0"):
        Ledger(max_bad=0).add(entry(0))


@pytest.mark.parametrize("limit", [-1, 1.5])
def test_limits_are_counts_or_shares(limit: float) -> None:
    with pytest.raises(il.InputError, match="whole number of samples, or a share"):
        Ledger(max_bad=limit)


def test_a_checkpoint_brings_its_entries_back(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    first = Ledger(path)
    for i in range(4):
        first.add(entry(i))
    state = first.state(2)  # what was found after that is found again
    second = Ledger(path)
    second.restore(state)
    second.rewrite()
    second.add(entry(1))
    second.add(entry(2))
    assert [json.loads(line)["index"] for line in path.read_text().splitlines()] == [0, 1, 2]
    assert second.counts["lost"] == 3


def test_the_ledgers_of_ranks_are_one(tmp_path: Path) -> None:
    """A sample that two ranks met stands in it once; the order is that of the ranks."""
    path = tmp_path / "ledger.jsonl"
    ranks = [Ledger(path), Ledger(path)]
    for ledger, indices in zip(ranks, [(1, 2), (2, 3)], strict=True):
        for i in indices:
            ledger.add(entry(i))
    assert len(path.read_text().splitlines()) == 4
    whole = Ledger(path)
    whole.restore([e for ledger in ranks for e in ledger.state(9)])
    whole.rewrite()
    assert [json.loads(line)["index"] for line in path.read_text().splitlines()] == [1, 2, 3]
    assert whole.counts["lost"] == 3
    Ledger(path).rewrite()
    assert not path.exists()


def test_quarantine_names_lost_samples_only(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.add(entry(1))
    ledger.add(entry(2, "repaired"))
    assert read_quarantine(tmp_path / "ledger.jsonl") == {("m4", 1): "id-1"}


def test_what_is_no_ledger(tmp_path: Path) -> None:
    with pytest.raises(il.InputError, match="cannot be read"):
        read_quarantine(tmp_path / "none.jsonl")
    for text in ("{", '{"a": 1}', "[]"):
        (tmp_path / "x").write_text(text)
        with pytest.raises(il.InputError, match="is no ledger"):
            read_quarantine(tmp_path / "x")


def totals(ledger: Ledger, merged: Ledger) -> dict[str, float]:
    """What is logged after two batches; only the second one ends a log step. The fourth entry was read ahead."""
    logged: dict[str, float] = {}
    train = SimpleNamespace(ledger=ledger, cursor={"ledger": 3, "read": 0})
    data = SimpleNamespace(train=train, ledger=lambda: merged)
    module: Any = SimpleNamespace(device=torch.device("cpu"), log_dict=logged.update)
    callback, logs = DataTotals(), {"datamodule": data, "log_every_n_steps": 2, "max_steps": 9}
    for step, views in ((1, 4), (2, 8)):
        batch: Any = SimpleNamespace(pixel_values=torch.zeros(views, 1))
        trainer: Any = SimpleNamespace(**logs, global_step=step)
        assert not logged
        callback.on_train_batch_end(trainer, module, None, batch, 0)
    return logged


def test_what_is_logged_is_of_all_ranks_and_held_against_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger, merged = Ledger(max_bad=3), Ledger(max_bad=3)
    for e in (entry(1), entry(2), entry(3, "repaired")):
        ledger.add(e)
        merged.add(e)
    ledger.add(entry(4, "shortened"))
    one = {"data/lost": 2, "data/repaired": 1, "data/shortened": 0, "data/views": 6}
    assert totals(ledger, merged) == one
    monkeypatch.setattr(
        "interleave.data.data_totals.all_reduce_sum", lambda value: 2 * value
    )  # another rank with the same
    assert totals(ledger, merged) == {**one, "data/lost": 4, "data/repaired": 2}, "they met the same two samples"
    merged.restore([*merged.state(9), *({**merged.state(1)[0], "index": i} for i in (8, 9))])
    assert merged.counts == Counter(lost=4, repaired=1)
    with pytest.raises(il.InputError, match=r"4 of 0 samples cannot be used, and data\.max_bad is 3"):
        totals(ledger, merged)
