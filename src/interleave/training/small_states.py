"""AdamW that keeps its moments in bfloat16 or in codes of 8 bits, and computes in float32."""

import functools
from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.distributed.tensor import zeros as sharded_zeros
from torch.optim.adamw import adamw

SmallStates = Literal["bfloat16", "8bit"]
MOMENTS = ("exp_avg", "exp_avg_sq")
SLAB = 1 << 22
"""Elements of a weight whose moments are in float32 at a time."""
BLOCKS = (256, 128)
"""Codes to one scale: the first of these numbers that divides a row, else the whole row."""

STATE_BYTES: dict[SmallStates, float] = {"bfloat16": 4.0, "8bit": 2 * (1 + 4 / BLOCKS[0])}
"""Of both moments, for each element of a matrix."""


class SmallStateAdamW(torch.optim.AdamW):
    """Fused AdamW with other moments: ``bfloat16``, rounded up or down by chance, so that small changes are kept on
    average; or ``8bit``, where matrices have a code for each element and a float32 scale for each block of a row, and
    vectors keep float32.

    groups: as of any optimiser. It heeds ``grad_scale`` and ``found_inf`` as torch's fused optimisers do. Weights and
    moments may be shards of FSDP2 along their rows.
    """

    def __init__(
        self, groups: Iterable[dict[str, object]], states: SmallStates, betas: tuple[float, float] = (0.9, 0.999)
    ) -> None:
        super().__init__(groups, betas=betas, fused=True)
        self._states = states
        for group in self.param_groups:
            group["draws"] = 0  # seeds the rounding: alike on every rank, and after a resume

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step, after ``closure`` if there is one, whose loss it returns."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            group["draws"] += 1
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)
        return loss

    def _update(self, parameter: nn.Parameter, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state.update(_first_state(parameter, self._states))
        weight, grad = _rows(parameter), _rows(parameter.grad)
        generator = torch.Generator(weight.device).manual_seed(group["draws"])
        found_inf: Tensor | None = getattr(self, "found_inf", None)
        step, rows = state["step"], max(1, SLAB // max(1, weight.shape[1]))
        for start in range(0, weight.shape[0], rows):
            slab = slice(start, start + rows)
            moments = [_read(state, name, slab) for name in MOMENTS]
            step = state["step"].clone()  # the kernel counts, and each slab is in the same step
            self._step_slab(weight[slab], grad[slab], moments, step, group)
            for name, moment in zip(MOMENTS, moments, strict=True):
                _write(state, name, slab, moment, found_inf, generator)
        if weight.shape[0] == 0:  # a rank without a row of it counts too
            step = step + (1 if found_inf is None else 1 - found_inf.to(step.device))
        state["step"].copy_(step)

    def _step_slab(
        self, weight: Tensor, grad: Tensor, moments: list[Tensor], step: Tensor, group: dict[str, Any]
    ) -> None:
        computed = weight.float()  # the weight itself where it is float32
        options = {name: group[name] for name in ("lr", "weight_decay", "eps")}
        beta1, beta2 = group["betas"]
        adamw(
            [computed], [grad.float()], [moments[0]], [moments[1]], [], [step], fused=True,
            grad_scale=getattr(self, "grad_scale", None), found_inf=getattr(self, "found_inf", None),
            amsgrad=False, maximize=False, beta1=beta1, beta2=beta2, **options,
        )  # fmt: skip
        if computed.dtype != weight.dtype:
            weight.copy_(computed)


def _rows(tensor: Tensor | None) -> Tensor:
    """This rank's part, (rows, elements of a row): a vector is one row."""
    assert tensor is not None
    local = tensor.to_local() if isinstance(tensor, DTensor) else tensor.detach()
    return local.view(local.shape[0], -1) if local.ndim > 1 and local.numel() else local.view(-1, max(1, local.numel()))


def _first_state(parameter: nn.Parameter, states: SmallStates) -> dict[str, Tensor]:
    """Zeros, sharded as the parameter is."""
    state = {"step": torch.zeros((), dtype=torch.float32, device=parameter.device)}
    weight = parameter.detach()
    for name in MOMENTS:
        if states == "bfloat16":
            state[name] = torch.zeros_like(weight, dtype=torch.bfloat16)
        elif weight.ndim <= 1:
            state[name] = torch.zeros_like(weight, dtype=torch.float32)
        else:
            state[f"{name}_codes"] = torch.zeros_like(weight, dtype=torch.uint8)
            state[f"{name}_scales"] = _first_scales(weight)
    return state


def _first_scales(weight: Tensor) -> Tensor:
    """(rows, blocks of a row) float32 zeros, with which every code means zero."""
    row = weight.shape[1:].numel()
    shape = (weight.shape[0], row // _block(row))
    if isinstance(weight, DTensor):
        return sharded_zeros(*shape, device_mesh=weight.device_mesh, placements=weight.placements)
    return torch.zeros(shape, dtype=torch.float32, device=weight.device)


def _block(row: int) -> int:
    return next((block for block in BLOCKS if row % block == 0), row)


def _read(state: dict[str, Tensor], name: str, slab: slice) -> Tensor:
    """Rows of a moment, float32; the moment itself where it is kept so."""
    if name in state:
        return _rows(state[name])[slab].float()
    codes, scales = _rows(state[f"{name}_codes"])[slab], _rows(state[f"{name}_scales"])[slab]
    values, _ = _table(name == "exp_avg", codes.device)
    blocks = values[codes.int()].view(*scales.shape, -1) * scales[..., None]
    moment = blocks.view(codes.shape)
    return moment if name == "exp_avg" else moment.square_()


def _write(
    state: dict[str, Tensor],
    name: str,
    slab: slice,
    moment: Tensor,
    found_inf: Tensor | None,
    generator: torch.Generator,
) -> None:
    """Keep rows of a moment; nothing changes where ``found_inf`` is 1."""
    if name in state:
        kept = _rows(state[name])[slab]
        if kept.dtype == torch.bfloat16:  # what was bfloat16 before, as in a step that is dropped, stays as it is
            noise = torch.randint(1 << 16, moment.shape, dtype=torch.int32, device=moment.device, generator=generator)
            kept.copy_(((moment.view(torch.int32) + noise) & -(1 << 16)).view(torch.float32))
        return
    codes, scales = _rows(state[f"{name}_codes"])[slab], _rows(state[f"{name}_scales"])[slab]
    _, borders = _table(name == "exp_avg", codes.device)
    if name != "exp_avg":  # roots span half as many powers of ten, so none that its step divides by becomes zero
        moment = moment.sqrt_()
    blocks = moment.view(*scales.shape, -1)
    new_scales = blocks.abs().amax(-1)
    shares = blocks / new_scales.clamp(min=torch.finfo(torch.float32).tiny)[..., None]
    new_codes = torch.bucketize(shares, borders, out_int32=True).to(torch.uint8).view(codes.shape)
    if found_inf is not None:
        drop = found_inf.to(codes.device).bool()
        new_codes, new_scales = torch.where(drop, codes, new_codes), torch.where(drop, scales, new_scales)
    codes.copy_(new_codes)
    scales.copy_(new_scales)


@functools.cache
def _table(signed: bool, device: torch.device) -> tuple[Tensor, Tensor]:
    """The (256,) values of the codes, rising to 1, and the (255,) borders between them.

    Dettmers et al., 2022 (8-bit Optimizers via Block-wise Quantization): each power of ten below 1 has half as many
    values as the one above it, seven in all.
    """
    values = [torch.tensor([0.0, 1.0])]
    for power in range(7):
        ends = torch.linspace(0.1, 1, 2 ** (power if signed else power + 1) + 1)
        means = (ends[:-1] + ends[1:]) / 2 * 10.0 ** (power - 6)
        values += [means, -means] if signed else [means]
    rising = torch.cat(values).sort().values.to(device)
    return rising, (rising[:-1] + rising[1:]) / 2
