"""Order, workers, bad samples and the position to resume from."""

import logging
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import Any

import pytest
import torch
from conftest import small_config, talk
from hypothesis import given, settings
from hypothesis import strategies as st

import interleave as il
from interleave.build import Assembly, assemble
from interleave.data import Budget, InterleavedData, PackedLoader, _Order
from interleave.source import Source
from interleave.types import Batch


class Numbers(il.Dataset):
    """Sample i says its number; those in ``bad`` cannot be read."""

    def __init__(self, total: int, bad: Sequence[int] = ()) -> None:
        self.total, self.bad = total, bad

    def __len__(self) -> int:
        return self.total

    def __getitem__(self, index: int) -> il.Sample:
        if index in self.bad:
            raise il.BadSample("missing file", f"{index}.png does not exist")
        return talk("x" * (index % 7), answer=f"<{index}>")


def source(assembly: Assembly, dataset: il.Dataset) -> Source:
    return Source({"numbers": dataset}, assembly.adapters, assembly.model.llm.chat, assembly.vision)


def numbers(assembly: Assembly, batches: Sequence[Batch]) -> list[int]:
    """Which samples stand in the batches, in order."""
    chat = assembly.model.llm.chat
    text = "".join(chat.decode(b.labels[b.labels >= 0].tolist()) for b in batches)
    return [int(x) for x in text.replace("<", " ").replace(">", " ").split()]


BUDGET = Budget(64, 2, 8)


def test_one_pass_gives_each_sample_once(assembly: Assembly) -> None:
    loader = PackedLoader(source(assembly, Numbers(41)), BUDGET, None)
    assert Counter(numbers(assembly, list(loader))) == Counter(range(41))


def test_every_epoch_holds_each_sample_once_in_an_order_of_its_own() -> None:
    order = list(islice(_Order(10, 3, (), 0, 0, 1).indices(), 30))
    epochs = [order[i : i + 10] for i in (0, 10, 20)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_what_was_seen_and_what_waits_is_all_that_was_read(assembly: Assembly) -> None:
    loader = PackedLoader(source(assembly, Numbers(10)), Budget(64, 1, 8), 3)
    batches = list(islice(loader, 60))
    read, waiting = batches[-1].cursor["next"], batches[-1].cursor["waiting"]
    order = list(islice(_Order(10, 3, (), 0, 0, 1).indices(), read))
    assert Counter(numbers(assembly, batches)) + Counter(order[p] for p in waiting) == Counter(order)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_workers_do_not_change_the_order(assembly: Assembly, workers: int) -> None:
    first = next(iter(PackedLoader(source(assembly, Numbers(50)), BUDGET, 1)))
    again = next(iter(PackedLoader(source(assembly, Numbers(50)), BUDGET, 1, workers)))
    assert first.ids.tolist() == again.ids.tolist()


@given(st.integers(1, 12), st.sets(st.integers(0, 29), max_size=6))
@settings(max_examples=15, deadline=None)
def test_a_loader_resumes_at_any_batch(taken: int, bad: set[int]) -> None:
    assembly = assemble(small_config())
    data = source(assembly, Numbers(30, tuple(bad)))
    whole = list(islice(PackedLoader(data, BUDGET, 5), taken + 4))
    resumed = PackedLoader(data, BUDGET, 5)
    resumed.cursor = whole[taken - 1].cursor
    for expected, found in zip(whole[taken:], resumed, strict=False):
        assert expected.ids.tolist() == found.ids.tolist()
        assert expected.cursor == found.cursor


@pytest.mark.parametrize("world", [1, 2, 3, 8])
@pytest.mark.parametrize("start", [0, 5])
def test_ranks_share_the_order_out(world: int, start: int) -> None:
    ranks = [islice(_Order(23, 7, (), start, rank, world).positions(), 24 // world) for rank in range(world)]
    assert sorted(p for rank in ranks for p in rank) == list(range(start, start + 24 // world * world))


def test_every_rank_validates_on_everything(assembly: Assembly, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interleave.parallel.world", lambda: (1, 2))
    assert Counter(numbers(assembly, list(PackedLoader(source(assembly, Numbers(23)), BUDGET, None)))) == Counter(
        range(23)
    )


def test_bad_samples_are_named_and_counted_and_not_replaced(
    assembly: Assembly, caplog: pytest.LogCaptureFixture
) -> None:
    loader = PackedLoader(source(assembly, Numbers(20, bad=(3, 11))), BUDGET, None)
    with caplog.at_level(logging.WARNING):
        seen = numbers(assembly, list(loader))
    assert Counter(seen) == Counter(set(range(20)) - {3, 11})
    assert loader.skipped.summary() == "2 samples skipped: 2 missing file"
    assert "skipped (missing file): numbers[3]: 3.png does not exist" in caplog.text


def test_a_set_of_bad_samples_alone_stops_the_run(assembly: Assembly) -> None:
    loader = PackedLoader(source(assembly, Numbers(3, bad=(0, 1, 2))), BUDGET, 0)
    with pytest.raises(il.InputError, match="none of 3 samples can be used: 3 samples skipped: 3 missing file"):
        next(iter(loader))
    too_long = PackedLoader(source(assembly, Numbers(3)), Budget(4, 1, 1), 0)
    with pytest.raises(il.InputError, match="3 over-length"):
        next(iter(too_long))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_that_no_sample_can_help_stops_the_run_in_one_line(assembly: Assembly, workers: int) -> None:
    class Unknown(Numbers):
        def __getitem__(self, index: int) -> il.Sample:
            return talk(il.Media("smell", None))

    with pytest.raises(il.InputError, match=r"^the model has no modality 'smell'\. Known: image.*scene3d, video$"):
        next(iter(PackedLoader(source(assembly, Unknown(3)), BUDGET, 0, workers)))


def test_no_samples_at_all(assembly: Assembly) -> None:
    with pytest.raises(il.InputError, match="no samples in numbers"):
        PackedLoader(source(assembly, Numbers(0)), BUDGET, 0)


def test_an_answerless_sample_teaches_nothing(assembly: Assembly) -> None:
    class Silent(Numbers):
        def __getitem__(self, index: int) -> il.Sample:
            return il.Sample([il.Turn("user", ["hi"])])

    example = source(assembly, Silent(1)).example(0)
    assert isinstance(example, il.BadSample)
    assert example.reason == "nothing to learn"


def test_a_checkpoint_of_another_world_is_refused(assembly: Assembly) -> None:
    data = InterleavedData(source(assembly, Numbers(9)), BUDGET)
    with pytest.raises(il.InputError, match="written by 2 processes and 1 resume it"):
        data.load_state_dict({"cursors": [{}, {}]})


def test_cached_examples_are_the_same(assembly: Assembly) -> None:
    plain, cached = (PackedLoader(source(assembly, Numbers(5)), Budget(64, 1, 8), 0, cache=c) for c in (False, True))
    for one, two in islice(zip(plain, cached, strict=False), 6):
        assert one.ids.tolist() == two.ids.tolist()
    assert len(cached.rendered.kept) == 5


def test_a_batch_moves_and_keeps_everything(assembly: Assembly) -> None:
    batch = next(iter(PackedLoader(source(assembly, Numbers(9)), BUDGET, 0)))
    moved: Any = batch.to("meta")
    assert {t.device.type for t in vars(moved).values() if isinstance(t, torch.Tensor)} == {"meta"}
    assert (moved.shown, moved.cursor) == (batch.shown, batch.cursor)
