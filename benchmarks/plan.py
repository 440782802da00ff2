"""What ``interleave plan`` says of memory and time, beside what the steps of a training took on this CPU.

python benchmarks/plan.py [--threads 2] [CASE...]

Each case trains seven steps in a process of its own, on full rows of equal documents. Memory is what PyTorch's
allocator handed out, by term; seconds are of the processor's clock over the threads, the smallest of three steps.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from interleave.compose import compose
from interleave.costs.memory import MEMORY_TERMS
from interleave.plan.plan import make_plan

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from measured_step import measure

MIB = 2**20
Numbers = dict[str, dict[str, float]]


def model(width: int, layers: int, inner: int, seen: int, vocabulary: int = 8192) -> list[str]:
    """Overrides of a language model of these sizes, and of a vision encoder ``seen`` wide."""
    heads = width // 64
    sizes = f"hidden_size:{width},num_hidden_layers:{layers},intermediate_size:{inner},vocab_size:{vocabulary}"
    llm = f"llm.config={{{sizes},num_attention_heads:{heads},num_key_value_heads:{heads},tie_word_embeddings:true}}"
    vision = [f"vision_encoder.{name}" for name in ("size=112", "patch=14", f"dim={seen}", "layers=4", "heads=4")]
    return ["llm=qwen2", llm, *vision]


def rows(length: int, documents: int, number: int = 1) -> list[str]:
    """Overrides of a batch of full rows, in which every document has one view."""
    views = documents * number
    batch = [f"data.sequence_length={length}", f"data.batch_size={number}", f"data.max_views={views}"]
    return [*batch, f"plan.tokens={length // documents}", "plan.views=1"]


CASES: dict[str, list[str]] = {
    "5M": [*model(192, 6, 768, 128), *rows(1024, 4, 2)],
    "5M, bf16-true": [*model(192, 6, 768, 128), *rows(1024, 4), "trainer.precision=bf16-true"],
    "30M": [*model(512, 7, 1408, 256), *rows(1024, 4)],
    "30M, 4,096 tokens, all computed again": [
        *model(512, 7, 1408, 256),
        *rows(4096, 4),
        "checkpoint_activations=true",
    ],
    "30M, bf16-mixed, all computed again": [
        *model(512, 7, 1408, 256),
        *rows(512, 2),
        "trainer.precision=bf16-mixed",
        "checkpoint_activations=true",
    ],
    "100M": [*model(768, 12, 2304, 256), *rows(512, 2)],
    "100M, frozen vision, selective": [
        *model(768, 12, 2304, 256),
        *rows(512, 2),
        "stage=small_frozen",
        "checkpoint_activations=selective",
    ],
    "45M, vocabulary 151,936": [*model(256, 4, 768, 256, vocabulary=151_936), *rows(1024, 4)],
}


def run(overrides: Sequence[str]) -> Numbers:
    """Plan a case, and train it."""
    with tempfile.TemporaryDirectory() as folder:
        common = ["device=cpu", "dataset=[]", "data.num_workers=0", "trainer.max_steps=7"]
        config = {**compose("plan", [*common, f"run={folder}", *overrides]), "callbacks": {}, "logger": None}
        plan, measured = make_plan(config), measure(config)
    time = {name: getattr(plan.time, name) for name in ("products", "attention", "elementwise", "optimizer", "seconds")}
    took = min(measured.seconds) / torch.get_num_threads()
    return {
        "planned": dict(plan.memory),
        "measured": {name: float(size) for name, size in measured.memory.items()},
        "time": {**time, "took": took},
        "all": {"parameters": sum(whole for whole, _ in plan.parameters.values()), "scratch": measured.scratch},
    }


def memory_rows(results: Mapping[str, Numbers]) -> list[list[str]]:
    """Planned and measured MiB of every term."""
    table = [["MiB, planned / measured", *MEMORY_TERMS, "all", "of it", "scratch"]]
    for name, found in results.items():
        planned, measured = found["planned"], found["measured"]
        cells = [f"{planned[term] / MIB:.1f} / {measured[term] / MIB:.1f}" for term in MEMORY_TERMS]
        every, real = sum(planned.values()), sum(measured.values())
        whole = [f"{every / MIB:.0f} / {real / MIB:.0f}", f"{every / real:.1%}", f"{found['all']['scratch'] / MIB:.1f}"]
        table.append([f"{name} ({found['all']['parameters'] / 1e6:.1f}M)", *cells, *whole])
    return table


def time_rows(results: Mapping[str, Numbers]) -> list[list[str]]:
    """Planned and measured seconds of a step."""
    table = [
        ["seconds a step", "products", "attention", "elementwise", "optimizer", "planned", "took", "planned / took"]
    ]
    for name, found in results.items():
        time = found["time"]
        table.append([name, *(f"{value:.3f}" for value in time.values()), f"{time['seconds'] / time['took']:.2f}"])
    return table


def show(table: Sequence[Sequence[str]]) -> None:
    """Print a table in Markdown."""
    for number, cells in enumerate(table):
        print(f"| {' | '.join(cells)} |")
        if not number:
            print("|---" + "|--:" * (len(cells) - 1) + "|")
    print(flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--one", action="store_true", help="run the one case named, here, and print JSON")
    parser.add_argument("cases", nargs="*", default=list(CASES), metavar="CASE", help=f"of {', '.join(CASES)}")
    given = parser.parse_args()
    if given.one:
        torch.set_num_threads(given.threads)
        print(json.dumps(run(CASES[given.cases[0]])))
        return
    results: dict[str, Numbers] = {}
    for name in given.cases:
        command = [sys.executable, __file__, "--one", f"--threads={given.threads}", name]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        results[name] = json.loads(done.stdout.splitlines()[-1])
    show(memory_rows(results))
    show(time_rows(results))


if __name__ == "__main__":
    main()
