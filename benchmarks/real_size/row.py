"""One row of the table, in a process of its own: what it holds in memory is nobody else's, and its failure too.

    python -m benchmarks.real_size.row NAME MATERIAL RESULT

MATERIAL: the folder that ``material.make`` filled. RESULT: a JSON file to write.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch

import interleave as il

from . import input_rows, model_rows, run_rows
from .clock import Clock

ROWS: Mapping[str, Callable[[Path, Clock], None]] = {
    "render": input_rows.rendering,
    "decode": input_rows.decoding,
    "pack": input_rows.packing,
    "step": model_rows.training_step,
    "reply": model_rows.replying,
    "session": model_rows.session_turns,
    "import": model_rows.importing,
    "export": partial(model_rows.exporting, layout="native"),
    "export-hf": partial(model_rows.exporting, layout="llava-onevision"),
    "start": run_rows.starting,
    "resume": run_rows.resuming,
    "evaluate": run_rows.evaluating,
}
"""Name -> what measures it. ``resume`` goes on from what ``start`` leaves."""


def main() -> None:
    name, material, result = sys.argv[1:]
    os.environ["INTERLEAVE_CACHE"] = str(Path(material) / "cache")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    torch.manual_seed(0)
    il.load_plugins()
    clock = Clock()
    try:
        ROWS[name](Path(material).resolve(), clock)
    finally:  # what was measured before a failure counts
        Path(result).write_text(json.dumps([line._asdict() for line in clock.lines]))


if __name__ == "__main__":
    main()
