"""The command line of ``interleave plan``: the overrides of ``interleave train``, and ``device=...``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..compose import compose
from ..core.errors import InputError

USAGE = """usage: interleave plan OVERRIDES

What a run will take, before any device is taken: parts, data, memory by term, time, and what fits.

The overrides are those of interleave train, and:
  device=h100|h200|a100|rtx4090|mi300x|cpu   whose rates are used; device.product_share=0.5 changes one
  shape=qwen2_0_5b|qwen2_7b|qwen2_14b|qwen2_72b   a model by its shape, with random weights
  plan.samples=24, plan.seconds=30           how much of the data is looked at
  plan.json=FILE                             all numbers
"""


def plan_command(arguments: Sequence[str]) -> None:
    """Run ``interleave plan`` with the words that follow it. Raises InputError for what a user can mend."""
    if {"-h", "--help"} & set(arguments):
        print(USAGE, end="")
        return
    for argument in arguments:
        if argument.startswith("-"):
            raise InputError(f"interleave plan has no option {argument}; it takes overrides, such as plan.json=FILE")
    show_plan(compose("plan", arguments))


def show_plan(config: Mapping[str, Any]) -> None:
    """Print the tables of a composed config's plan, and write its numbers where ``plan.json`` says."""
    import json

    from rich.console import Console

    from ..core.files import replacing
    from .plan import make_plan  # only now: help and errors of the config need no torch
    from .tables import as_numbers, data_plan, memory_plan, parts_plan, time_plan, work_plan

    plan, console = make_plan(config), Console()
    for make in (parts_plan, data_plan, memory_plan, work_plan, time_plan):
        table = make(plan)
        caption, table.caption = table.caption, None  # which rich would wrap at the width of the columns
        console.print(table)
        if caption:
            console.print(caption, highlight=False, markup=False, end="\n\n")
    for note in plan.notes:
        console.print(f"note: {note}", soft_wrap=True, markup=False, highlight=False)
    if plan.options.json:
        with replacing(Path(plan.options.json)) as part:
            part.write_text(json.dumps(as_numbers(plan), indent=1), encoding="utf-8")
