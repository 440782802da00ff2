"""A device's rates, from ``conf/device``, and this machine's, measured on the spot."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn.functional import scaled_dot_product_attention

from ..costs.memory import GIB

TIMED_SIDE = 2048
"""Rows and columns of the matrices whose product is timed."""
TIMED_HEADS, TIMED_LENGTH, HEAD_DIM = 4, 512, 64
"""Of the document whose attention is timed."""


@dataclass(frozen=True)
class Device:
    """Rates of one device. None is measured on this machine, by ``rates``.

    bf16_flops, float32_flops: FLOPs a second of matrix products in either type, at the peak.
    memory_gib: what a process can allocate.
    bandwidth: bytes a second of its memory.
    link, network: bytes a second to another device of the same node, and of another one.
    devices_per_node: how many devices have such links to each other.
    product_share, bandwidth_share, link_share: of these rates that a training step reaches, 0 to 1.
    attention_share: of the FLOPs of products that attention within documents reaches, by its useful ones.
    """

    name: str
    bf16_flops: float | None
    float32_flops: float | None
    memory_gib: float | None
    bandwidth: float | None
    link: float
    network: float
    devices_per_node: int
    product_share: float
    attention_share: float | None
    bandwidth_share: float
    link_share: float


@dataclass(frozen=True)
class Rates:
    """What a step reaches on a device, in FLOPs and bytes a second.

    peak: FLOPs a second at the peak, of which ``products`` and ``attention`` are shares. memory: bytes that can be
        allocated.
    """

    peak: float
    products: float
    attention: float
    bandwidth: float
    network: float
    memory: float


def rates(device: Device, half: bool, devices: int, nodes: int) -> Rates:
    """Those of a device, or of this machine where it has none. half: whether products are computed in bf16. devices: of
    each node."""
    peak = (device.bf16_flops if half else device.float32_flops) or _product_rate(half)
    bandwidth = device.bandwidth or _copy_rate()
    memory = _available_memory() if device.memory_gib is None else device.memory_gib * GIB
    within = nodes == 1 and devices <= device.devices_per_node
    return Rates(
        peak=peak,
        products=peak * device.product_share,
        attention=_attention_rate(half) if device.attention_share is None else peak * device.attention_share,
        bandwidth=bandwidth * device.bandwidth_share,
        network=(device.link if within else device.network) * device.link_share,
        memory=memory,
    )


def _product_rate(half: bool) -> float:
    """FLOPs a second of a product of two square matrices on the CPU."""
    left, right = (torch.ones(TIMED_SIDE, TIMED_SIDE, dtype=_compute_dtype(half)) for _ in range(2))
    return 2 * TIMED_SIDE**3 / _fastest(lambda: torch.mm(left, right))


def _attention_rate(half: bool) -> float:
    """FLOPs a second of attention within a document on the CPU, both passes, as ``costs.work`` counts them: half of a
    square, and no scores that the backward pass computes again."""
    shape = 1, TIMED_HEADS, TIMED_LENGTH, HEAD_DIM
    query, key, value = (torch.ones(shape, dtype=_compute_dtype(half), requires_grad=True) for _ in range(3))

    def both_passes() -> None:
        out = scaled_dot_product_attention(query, key, value, is_causal=True)
        torch.autograd.grad(out, (query, key, value), out.detach())

    return 6 * TIMED_HEADS * HEAD_DIM * TIMED_LENGTH**2 / _fastest(both_passes)


def _copy_rate() -> float:
    """Bytes a second that a copy of 128 MiB reads and writes."""
    source = torch.zeros(32 * 2**20)
    target = torch.empty_like(source)
    return 2 * source.nbytes / _fastest(lambda: target.copy_(source))


def _compute_dtype(half: bool) -> torch.dtype:
    return torch.bfloat16 if half else torch.float32


def _fastest(work: Callable[[], object]) -> float:
    """Seconds of the best of four."""
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _available_memory() -> int:
    """Bytes that this machine can still hand out."""
    for line in Path("/proc/meminfo").read_text().splitlines() if Path("/proc/meminfo").exists() else []:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
