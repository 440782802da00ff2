"""What bounds a step, and on which devices."""

import math
from dataclasses import replace

import pytest

from interleave.compose import compose
from interleave.plan.build import build_device
from interleave.plan.device import rates
from interleave.plan.step_time import StepTime

WORKS = StepTime(products=2.5, attention=0.5, elementwise=1.0, optimizer=1.0, network=1.0, data=1.0)
DEVICES = ("h100", "h200", "a100", "rtx4090", "mi300x", "cpu")


@pytest.mark.parametrize(
    ("step", "bound", "seconds"),
    [
        (WORKS, "compute", 5.0),
        (replace(WORKS, elementwise=2.5), "memory bandwidth", 6.5),
        (replace(WORKS, optimizer=2.5), "memory bandwidth", 6.5),
        (replace(WORKS, network=5.5), "network", 5.5),
        (replace(WORKS, data=6.0, network=5.5), "data", 6.0),
    ],
)
def test_a_step_is_bound_by_the_longest_of_what_overlaps(step: StepTime, bound: str, seconds: float) -> None:
    assert (step.bound, step.seconds) == (bound, seconds)


@pytest.mark.parametrize("name", DEVICES)
def test_every_device_has_rates_that_a_time_can_be_worked_out_from(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interleave.plan.device.TIMED_SIDE", 256)
    device = build_device(compose("plan", [f"device={name}"]))
    one, many = (rates(device, half=True, devices=8, nodes=nodes) for nodes in (1, 2))
    for found in (one, many):
        numbers = vars(found).values()
        assert all(math.isfinite(number) and number > 0 for number in numbers), found
        assert max(found.products, found.attention) < found.peak
    assert many.network < one.network or device.devices_per_node < 8, "another node is further away"
