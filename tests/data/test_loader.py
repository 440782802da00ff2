"""Samples to batches: workers, ranks, bad samples and their replacements, and the place to resume from."""

import json
import logging
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import small_config, talk

import interleave as il
from interleave.core.types import Batch
from interleave.data import packed_loader
from interleave.data.budget import Budget
from interleave.data.datamodule import InterleavedData
from interleave.data.example_source import ExampleSource, SourceOptions
from interleave.data.ledger import Ledger, read_quarantine
from interleave.data.packed_loader import PackedLoader
from interleave.model.assembly import Assembly, assemble


class Numbers(il.Dataset):
    """Sample i says its number; those in ``bad`` cannot be read."""

    def __init__(self, total: int, bad: Sequence[int] = (), first: int = 0) -> None:
        self.total, self.bad, self.first = total, bad, first

    def __len__(self) -> int:
        return self.total

    def __getitem__(self, index: int) -> il.Sample:
        if index in self.bad:
            raise il.BadSample("missing file", f"{index}.png does not exist")
        return talk("x" * (index % 7), answer=f"<{self.first + index}>")


def source(assembly: Assembly, *sets: il.Dataset) -> ExampleSource:
    names = {f"numbers{i or ''}": dataset for i, dataset in enumerate(sets)}
    return ExampleSource(names, assembly.adapters, assembly.model.llm.tokenizer, assembly.vision)


def numbers(assembly: Assembly, batches: Sequence[Batch]) -> list[int]:
    """Which samples stand in the batches, in order."""
    chat = assembly.model.llm.tokenizer
    text = "".join(chat.decode(b.labels[b.labels >= 0].tolist()) for b in batches)
    return [int(x) for x in text.replace("<", " ").replace(">", " ").split()]


BUDGET = Budget(64, 2, 8, lookahead=1.5)


def as_rank(monkeypatch: pytest.MonkeyPatch, rank: int, world: int) -> None:
    """As if torch.distributed had said so, wherever the two functions were imported."""
    for name, module in list(sys.modules.items()):
        if name.startswith(("interleave.data", "interleave.core")) and hasattr(module, "world_size"):
            monkeypatch.setattr(module, "world_size", lambda: world)
            if hasattr(module, "global_rank"):
                monkeypatch.setattr(module, "global_rank", lambda: rank)


def waiting(loader: PackedLoader, batch: Batch) -> list[int]:
    """The samples behind the places that a cursor keeps."""
    return [loader.mixture.index(place) for place in batch.cursor["waiting"]]


def test_one_pass_gives_each_sample_once(assembly: Assembly) -> None:
    loader = PackedLoader(source(assembly, Numbers(41)), BUDGET, None)
    assert Counter(numbers(assembly, list(loader))) == Counter(range(41))


@pytest.mark.parametrize(
    ("world", "num_workers"), [(1, 0), (1, 1), (1, 2), (1, 3), (1, 4), (2, 0), (2, 1), (3, 0), (3, 2), (8, 0), (8, 1)]
)
@pytest.mark.parametrize("bad", [(), (2, 3, 17)])
def test_an_epoch_loses_and_doubles_nothing(
    world: int, num_workers: int, bad: tuple[int, ...], assembly: Assembly, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What all ranks saw, and what waits in their packers, is each usable sample of every place that was passed."""
    total, epochs = 24, 2
    data = source(assembly, Numbers(total - 6, bad), Numbers(6, bad[:1], first=100))
    seen: Counter[int] = Counter()
    passed: Counter[int] = Counter()
    for rank in range(world):
        as_rank(monkeypatch, rank, world)
        loader = PackedLoader(data, Budget(64, 1, 8, 1.5), 3, num_workers)
        last = run_to(loader, epochs * total, assembly, seen)
        passed.update(behind(loader, last.cursor, rank, world, range(epochs * total + 999)))
    assert seen == passed
    everything = [*range(18), *range(100, 106)]
    if not bad:  # within whole epochs each as often as every other
        assert all(seen[n] >= epochs for n in everything)
    assert not any(seen[n] for n in bad)


def run_to(loader: PackedLoader, place: int, assembly: Assembly, seen: Counter[int]) -> Batch:
    """Read batches until the draws are at ``place``; count what they show and what waits then. The last batch."""
    for batch in loader:
        seen.update(numbers(assembly, [batch]))
        if batch.cursor["next"] >= place:
            seen.update(number(loader, p) for p in batch.cursor["waiting"])
            return batch
    raise AssertionError("it ended")


def behind(
    loader: PackedLoader, cursor: Mapping[str, Any], rank: int, world: int, places: Iterable[int]
) -> Iterator[int]:
    """The usable samples of the rank's own places that its cursor has passed."""
    for place in places:
        name = loader.mixture.names[loader.mixture.source(place)]
        if place % world == rank and place < max(cursor["next"], cursor["ahead"].get(name, 0)):
            dataset: Any = loader.source.datasets[name]
            if loader.mixture.index(place) not in dataset.bad:
                yield number(loader, place)


def number(loader: PackedLoader, place: int) -> int:
    dataset: Any = loader.source.datasets[loader.mixture.names[loader.mixture.source(place)]]
    return int(dataset.first + loader.mixture.index(place))


@pytest.mark.parametrize("num_workers", [1, 2, 3, 4])
def test_workers_do_not_change_the_order_also_where_samples_are_replaced(assembly: Assembly, num_workers: int) -> None:
    sets = (Numbers(50, bad=(3, 4, 30)), Numbers(9, bad=(2,), first=100))
    one, other = (PackedLoader(source(assembly, *sets), BUDGET, 1, w) for w in (0, num_workers))
    for expected, found in islice(zip(one, other, strict=False), 12):
        assert expected.input_ids.tolist() == found.input_ids.tolist()
        assert expected.cursor == found.cursor
    assert one.ledger.entries == other.ledger.entries


def test_a_bad_sample_is_replaced_by_the_next_of_its_source(assembly: Assembly, tmp_path: Path) -> None:
    """The share of each source stays what the mixture wants, draw by draw."""
    sound = PackedLoader(source(assembly, Numbers(20), Numbers(20, first=100)), BUDGET, 5)
    bad = PackedLoader(
        source(assembly, Numbers(20, bad=(3, 11, 12)), Numbers(20, first=100)),
        BUDGET, 5, ledger=Ledger(tmp_path / "ledger.jsonl"),
    )  # fmt: skip
    expected, found = (_draws(assembly, loader, 30) for loader in (sound, bad))
    assert [n >= 100 for n in found] == [n >= 100 for n in expected]
    walk = [n for n in _draws(assembly, sound, 60) if n < 100 and n not in (3, 11, 12)]
    mine = [n for n in found if n < 100]
    assert mine == walk[: len(mine)]
    lines = [json.loads(line) for line in (tmp_path / "ledger.jsonl").read_text().splitlines()]
    assert {(x["source"], x["index"], x["reason"], x["action"]) for x in lines} <= {
        ("numbers", i, "missing file", "replaced") for i in (3, 11, 12)
    }
    assert lines


def _draws(assembly: Assembly, loader: PackedLoader, count: int) -> list[int]:
    """Samples in the order of draws, one a batch."""
    alone = PackedLoader(loader.source, Budget(64, 1, 8, 0.01), loader.mixture.seed, ledger=loader.ledger)
    return numbers(assembly, list(islice(alone, count)))


@given(st.integers(1, 12), st.sets(st.integers(0, 29), max_size=9), st.sampled_from([0, 1]), st.sampled_from([1, 3]))
@settings(max_examples=15, deadline=None)
def test_a_loader_resumes_at_any_batch(taken: int, bad: set[int], num_workers: int, world: int) -> None:
    assembly = assemble(small_config())
    data = source(assembly, Numbers(30, tuple(bad)), Numbers(7, first=100))
    with pytest.MonkeyPatch.context() as patch:
        as_rank(patch, world - 1, world)
        first = PackedLoader(data, BUDGET, 5)
        whole = list(islice(first, taken + 4))
        resumed = PackedLoader(data, BUDGET, 5, num_workers)
        resumed.cursor = whole[taken - 1].cursor
        resumed.ledger.restore(first.ledger.state(resumed.cursor["ledger"]))
        for expected, found in zip(whole[taken:], resumed, strict=False):
            assert expected.input_ids.tolist() == found.input_ids.tolist()
            assert expected.cursor == found.cursor


@given(
    st.sampled_from([(1, 2), (2, 1), (3, 2), (2, 8), (8, 3)]),
    st.sampled_from([0, 0, 0, 0, 2]),
    st.sets(st.integers(0, 39), max_size=5),
    st.lists(st.integers(1, 6), min_size=8, max_size=8),
)
@settings(max_examples=20, deadline=None)
def test_another_number_of_ranks_and_of_workers_goes_on_exactly(
    worlds: tuple[int, int], num_workers: int, bad: set[int], steps: list[int]
) -> None:
    """Before and after together: every usable sample of every place that was passed, each once."""
    before, after = worlds
    assembly = assemble(small_config())
    data, budget = source(assembly, Numbers(40, tuple(bad)), Numbers(9, first=100)), Budget(64, 1, 8, 1.5)
    seen: Counter[int] = Counter()
    passed: Counter[int] = Counter()
    states = []
    with pytest.MonkeyPatch.context() as patch:
        for rank in range(before):
            as_rank(patch, rank, before)
            module = InterleavedData(data, budget, 2)
            batches = list(islice(module.train, steps[rank]))
            seen.update(numbers(assembly, batches))
            module.train.cursor = batches[-1].cursor
            states.append(module.state_dict()["ranks"][rank])
        for rank in range(after):
            as_rank(patch, rank, after)
            module = InterleavedData(data, budget, 2, num_workers)
            module.load_state_dict({"mixture": module.train.mixture.signature(), "ranks": states})
            start = module.train.cursor["next"]
            last = run_to(module.train, start + 30, assembly, seen)
            passed.update(behind(module.train, last.cursor, rank, after, range(start, start + 999)))
        everyone = {"next": start, "ahead": {}}  # what lies before was seen then, or is dealt out now
        passed.update(behind(module.train, everyone, 0, 1, range(start)))
    assert seen == passed


def test_a_resumed_ledger_is_that_of_a_run_that_never_stopped(assembly: Assembly, tmp_path: Path) -> None:
    data = source(assembly, Numbers(300, bad=range(0, 300, 7)))
    whole, cut, resumed = (InterleavedData(data, BUDGET, 5, ledger=Ledger(tmp_path / n)) for n in ("a", "b", "c"))
    for module, steps in ((whole, 9), (cut, 4)):
        for batch in islice(module.train, steps):
            module.train.cursor = batch.cursor
    assert 0 < len(cut.train.ledger.entries) < len(whole.train.ledger.entries)
    resumed.load_state_dict(cut.state_dict())
    assert (tmp_path / "c").read_text() == (tmp_path / "b").read_text()
    list(islice(resumed.train, 5))
    assert (tmp_path / "c").read_text() == (tmp_path / "a").read_text()
    for name in ("entries", "counts", "read"):
        assert getattr(resumed.train.ledger, name) == getattr(whole.train.ledger, name)


def test_totals_are_those_of_all_ranks_each_sample_once(assembly: Assembly, monkeypatch: pytest.MonkeyPatch) -> None:
    module = InterleavedData(source(assembly, Numbers(40, bad=(3, 5))), BUDGET, 5, ledger=Ledger(max_bad=2))
    *_, last = islice(module.train, 12)
    module.train.cursor = last.cursor
    mine = module.train.ledger.state(99)
    other = [{**mine[0]}, {**mine[1], "index": 11, "message": "11.png does not exist"}]
    monkeypatch.setattr("interleave.data.datamodule.all_gather", lambda value: [value, (other, 50)])
    ledger = module.ledger()
    assert ledger.summary() == "3 samples lost: 3 missing file"
    assert ledger.read == last.cursor["read"] + 50
    with pytest.raises(il.InputError, match=r"3 of \d+ samples cannot be used, and data.max_bad is 2: .*11\.png"):
        ledger.check_limit()


def test_a_changed_data_set_is_refused(assembly: Assembly) -> None:
    saved = InterleavedData(source(assembly, Numbers(9)), BUDGET, 1).state_dict()
    with pytest.raises(il.InputError, match="numbers has changed since the checkpoint: 9 samples, 9 an epoch then, 8"):
        InterleavedData(source(assembly, Numbers(8)), BUDGET, 1).load_state_dict(saved)
    with pytest.raises(il.InputError, match=r"numbers1 has changed .*: absent then"):
        InterleavedData(source(assembly, Numbers(9), Numbers(1)), BUDGET, 1).load_state_dict(saved)
    with pytest.raises(il.InputError, match="trained with seed=1"):
        InterleavedData(source(assembly, Numbers(9)), BUDGET, 2).load_state_dict(saved)


def test_ranks_share_a_single_pass_out(assembly: Assembly, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here without a second process: each rank alone reads its part, and none makes blank batches then."""
    seen: list[int] = []
    for rank in range(2):
        as_rank(monkeypatch, rank, 2)
        monkeypatch.setattr(packed_loader, "cpu_group", lambda: None)
        seen += numbers(assembly, list(PackedLoader(source(assembly, Numbers(23)), BUDGET, None)))
    assert Counter(seen) == Counter(range(23))


def test_one_pass_leaves_bad_samples_out(assembly: Assembly, caplog: pytest.LogCaptureFixture) -> None:
    loader = PackedLoader(source(assembly, Numbers(20, bad=(3, 11))), BUDGET, None)
    with caplog.at_level(logging.WARNING):
        seen = numbers(assembly, list(loader))
    assert Counter(seen) == Counter(set(range(20)) - {3, 11})
    assert loader.ledger.summary() == "2 samples lost: 2 missing file"
    assert "left out (missing file): numbers[3]: 3.png does not exist" in caplog.text


def test_a_source_of_bad_samples_alone_stops_the_run(assembly: Assembly) -> None:
    loader = PackedLoader(source(assembly, Numbers(3, bad=(0, 1, 2)), Numbers(50)), BUDGET, 0)
    with pytest.raises(il.InputError, match=r"none of the 3 samples of numbers can .* 3 samples lost: 3 missing file"):
        list(islice(loader, 30))
    too_long = PackedLoader(source(assembly, Numbers(3)), Budget(4, 1, 1), 0)
    with pytest.raises(il.InputError, match="3 over-length"):
        next(iter(too_long))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_quarantine_leaves_out_what_was_lost_unread(assembly: Assembly, num_workers: int, tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    data = source(assembly, Numbers(20, bad=(3, 11)))
    first = PackedLoader(data, BUDGET, 0, ledger=Ledger(path))
    whole = list(islice(first, 8))
    clean = replace(data, datasets={"numbers": Numbers(20)}, quarantine=read_quarantine(path))
    again = PackedLoader(clean, BUDGET, 0, num_workers, ledger=Ledger(tmp_path / "second.jsonl"))
    for expected, found in zip(whole, again, strict=False):
        assert expected.input_ids.tolist() == found.input_ids.tolist()
    assert not (tmp_path / "second.jsonl").exists()


def test_quarantine_of_other_data_is_refused(assembly: Assembly) -> None:
    data = replace(source(assembly, Numbers(20)), quarantine={("numbers", 3): "lion"})
    with pytest.raises(il.InputError, match=r"numbers\[3\] as 'lion', and the data calls it '3'"):
        list(islice(PackedLoader(data, BUDGET, 0), 9))


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_error_that_no_sample_can_help_stops_the_run_in_one_line(assembly: Assembly, num_workers: int) -> None:
    class Unknown(Numbers):
        def __getitem__(self, index: int) -> il.Sample:
            return talk(il.Media("smell", None))

    with pytest.raises(il.InputError, match=r"^the model has no modality 'smell'\. Known: image.*scene3d, video$"):
        next(iter(PackedLoader(source(assembly, Unknown(3)), BUDGET, 0, num_workers)))


def test_an_answerless_sample_teaches_nothing(assembly: Assembly) -> None:
    class Silent(Numbers):
        def __getitem__(self, index: int) -> il.Sample:
            return il.Sample([il.Message("user", ["hi"])])

    example = source(assembly, Silent(1)).example("numbers", 0)
    assert isinstance(example, il.BadSample)
    assert example.reason == "nothing to learn"


def test_a_source_may_have_settings_of_its_own(assembly: Assembly) -> None:
    image = il.Media("image", assembly.adapters["image"].example())

    class Pictures(Numbers):
        def __getitem__(self, index: int) -> il.Sample:
            return talk("a ", image, " b")

    data = replace(
        source(assembly, Pictures(4), Pictures(4)), own={"numbers1": SourceOptions(weight=2, placement="front")}
    )
    inside, front = (data.example(name, 0) for name in ("numbers", "numbers1"))
    assert isinstance(inside, il.Example)
    assert isinstance(front, il.Example)
    assert int(front.visual_positions[0]) < int(inside.visual_positions[0])
    assert data.supplies()["numbers1"].quota == 8
    with pytest.raises(il.InputError, match="there is no source 'numbres'; did you mean 'numbers'"):
        replace(data, own={"numbres": SourceOptions()})


def test_cached_examples_are_the_same(assembly: Assembly) -> None:
    plain, cached = (PackedLoader(source(assembly, Numbers(5)), Budget(64, 1, 8), 0, cache=c) for c in (False, True))
    for one, two in islice(zip(plain, cached, strict=False), 6):
        assert one.input_ids.tolist() == two.input_ids.tolist()
    assert len(cached.rendered.kept) == 5


def test_loading_draws_no_random_numbers_of_the_run(assembly: Assembly) -> None:
    """Dropout after a resume goes on as it would have without the interruption."""
    before = torch.get_rng_state()
    next(iter(PackedLoader(source(assembly, Numbers(9)), BUDGET, 0, num_workers=1)))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_batch_moves_and_keeps_everything(assembly: Assembly) -> None:
    batch = next(iter(PackedLoader(source(assembly, Numbers(9)), BUDGET, 0)))
    moved: Any = batch.to("meta")
    assert {t.device.type for t in vars(moved).values() if isinstance(t, torch.Tensor)} == {"meta"}
    assert (moved.visuals, moved.cursor) == (batch.visuals, batch.cursor)
