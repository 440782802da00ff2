"""Moments in bfloat16 or 8 bits: what they learn, how much memory they take, how they are resumed."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from forked_ranks import run_job
from small_states_steps import STATES, adamw, learn, network
from torch import Tensor, nn

from interleave.core.errors import InputError
from interleave.training import checkpoint_files, small_states
from interleave.training.small_states import STATE_BYTES, SmallStateAdamW, SmallStates


def tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    return checkpoint_files.model_tensors(model) | checkpoint_files.optimizer_tensors(model, optimizer)


@pytest.mark.parametrize("states", STATES)
def test_they_learn_what_float32_learns(states: SmallStates) -> None:
    plain, model = network(), network()
    expected, found = learn(plain, adamw(plain, None), 60), learn(model, adamw(model, states), 60)
    assert expected[-1] < 0.05 * expected[0]
    assert found == pytest.approx(expected, rel=0.05, abs=2e-3)


@pytest.mark.parametrize("states", STATES)
def test_matrices_take_the_bytes_that_a_plan_counts(states: SmallStates) -> None:
    model = nn.Linear(1024, 8, bias=False)
    optimizer = adamw(model, states)
    model(torch.ones(1, 1024)).sum().backward()
    optimizer.step()
    step, *moments = optimizer.state[model.weight].values()
    assert step == 1
    assert sum(moment.nbytes for moment in moments) == STATE_BYTES[states] * model.weight.numel()


@pytest.mark.parametrize("columns", [256, 384, 50])
def test_codes_are_near_what_they_stand_for(columns: int) -> None:
    """Gradients of very different sizes in one row: the first step is the rate for each of them, as AdamW's is."""
    weight = nn.Parameter(torch.zeros(3, columns))
    optimizer = SmallStateAdamW([{"params": [weight], "lr": 1.0, "weight_decay": 0.0}], "8bit")
    weight.grad = torch.logspace(-4, 0, columns).repeat(3, 1)
    gradient = weight.grad.clone()
    optimizer.step()
    torch.testing.assert_close(weight.detach(), -torch.ones(3, columns), atol=1e-3, rtol=0)
    state = optimizer.state[weight]
    first = small_states._read(state, "exp_avg", slice(0, 3))
    torch.testing.assert_close(first / 0.1, gradient, rtol=0.5, atol=1e-6)
    torch.testing.assert_close(first[:, -8:] / 0.1, gradient[:, -8:], rtol=0.03, atol=0)
    second = small_states._read(state, "exp_avg_sq", slice(0, 3))
    assert bool((second > 0).all()), "a step divides by its root"
    torch.testing.assert_close(second[:, -8:] / 1e-3, gradient[:, -8:].square(), rtol=0.03, atol=0)


@pytest.mark.parametrize("states", STATES)
def test_a_second_moment_falls_though_each_step_is_less_than_a_bfloat16_tells_apart(states: SmallStates) -> None:
    weight = nn.Parameter(torch.zeros(8, 256))
    optimizer = SmallStateAdamW([{"params": [weight], "lr": 0.0}], states)
    weight.grad = torch.ones_like(weight)
    optimizer.step()
    for _ in range(700):
        weight.grad = torch.zeros_like(weight)
        optimizer.step()
    mean = small_states._read(optimizer.state[weight], "exp_avg_sq", slice(0, 8)).mean().item()
    assert mean == pytest.approx(1e-3 * 0.999**700, rel=0.03)


def test_slabs_of_rows_learn_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[dict[str, Tensor]] = []
    for slab in (1 << 22, 1000):
        monkeypatch.setattr(small_states, "SLAB", slab)
        model = network()
        optimizer = adamw(model, "8bit")
        learn(model, optimizer, 5)
        runs.append(tensors(model, optimizer))
    for first, second in pairwise(runs):
        assert all(torch.equal(first[name], second[name]) for name in first)


def test_bfloat16_weights_learn_with_codes() -> None:
    model = network().bfloat16()
    optimizer = adamw(model, "8bit")
    for _ in range(3):
        before = model[0].weight.clone()  # type: ignore[index, union-attr]
        model(torch.ones(2, 256, dtype=torch.bfloat16)).square().sum().backward()
        optimizer.step()
        assert not torch.equal(before, model[0].weight)  # type: ignore[index, union-attr]
    assert model[0].weight.dtype == torch.bfloat16  # type: ignore[index, union-attr]


@pytest.mark.parametrize("states", STATES)
def test_a_resumed_run_goes_on_to_the_bit(states: SmallStates, tmp_path: Path) -> None:
    model, again = network(), network()
    optimizer, resumed = adamw(model, states), adamw(again, states)
    learn(model, optimizer, 3)
    checkpoint_files.write_tensors(tmp_path, tensors(model, optimizer), None)
    groups = checkpoint_files.settings(optimizer)
    checkpoint_files.read_tensors(tmp_path, again, resumed)
    checkpoint_files.restore_settings(resumed, groups)
    assert learn(again, resumed, 3) == learn(model, optimizer, 3)
    expected, found = tensors(model, optimizer), tensors(again, resumed)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


@pytest.mark.parametrize(("before", "after"), [("8bit", None), (None, "8bit"), ("8bit", "bfloat16")])
def test_a_resume_with_codes_in_place_of_numbers_is_refused(
    before: SmallStates | None, after: SmallStates | None, tmp_path: Path
) -> None:
    model = network()
    optimizer = adamw(model, before)
    learn(model, optimizer, 1)
    checkpoint_files.write_tensors(tmp_path, tensors(model, optimizer), None)
    again = network()
    with pytest.raises(InputError, match=r"exp_avg.*resume with the stage\.optimizer_states that it was trained with"):
        checkpoint_files.read_tensors(tmp_path, again, adamw(again, after))


def test_bfloat16_moments_become_float32_ones(tmp_path: Path) -> None:
    model, again = network(), network()
    optimizer, resumed = adamw(model, "bfloat16"), adamw(again, None)
    learn(model, optimizer, 2)
    checkpoint_files.write_tensors(tmp_path, tensors(model, optimizer), None)
    checkpoint_files.read_tensors(tmp_path, again, resumed)
    first, second = optimizer.state[next(model.parameters())], resumed.state[next(again.parameters())]
    assert second["exp_avg"].dtype == torch.float32
    assert torch.equal(first["exp_avg"].float(), second["exp_avg"])


def test_shards_of_fsdp2_learn_the_same(tmp_path: Path) -> None:
    found = run_job("small_states_job.py", 2, tmp_path / "out.pt")
    for states in STATES:
        model = network()
        optimizer = adamw(model, states)
        losses, whole = found[states]
        assert losses == pytest.approx(learn(model, optimizer, 8), rel=1e-3)
        alone = optimizer.state[next(model.parameters())]
        assert whole.keys() == alone.keys()
        assert all(whole[key].shape == alone[key].shape and whole[key].dtype == alone[key].dtype for key in alone)
        assert whole["step"] == 8
        if states == "8bit":
            same = (whole["exp_avg_codes"] == alone["exp_avg_codes"]).float().mean()
            assert same > 0.9, "but for numbers at the border of two codes"
