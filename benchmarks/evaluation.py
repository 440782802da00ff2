"""The evaluation runner against asking one by one: the same items, the same model, both from files to scores.

    python benchmarks/evaluation.py

Ends with an error where the runner is less than three times as fast.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import torch

import interleave as il
from interleave.compose import compose
from interleave.evaluation.evaluate import evaluate
from interleave.evaluation.reply import Reply
from interleave.evaluation.reply_journal import REPLIES
from interleave.evaluation.runner import Settings
from interleave.inference.lm import LM
from interleave.model.assembly import assemble

ITEMS = 128


def one_by_one(lm: LM, task: il.Task) -> tuple[list[str], float]:
    """Replies, and seconds, as a script would do it: read an item, ask, score."""
    started, replies = time.perf_counter(), []
    for record in task.records():
        (reply,) = lm.reply([task.sample(record)], **task.generation)
        task.score(record, reply)
        replies.append(reply)
    return replies, time.perf_counter() - started


def batched(lm: LM, task: il.Task, folder: Path) -> tuple[list[str], float]:
    """Replies, and seconds, with the runner and everything that it writes."""
    started = time.perf_counter()
    evaluate(lm, {"mini": task}, folder, Settings(batch=64))
    seconds = time.perf_counter() - started
    lines = (folder / REPLIES).read_text(encoding="utf-8").splitlines()
    return [Reply.from_json(json.loads(line)).reply or "" for line in lines], seconds


def main() -> None:
    torch.manual_seed(0)
    il.load_plugins()
    config = compose("train", ["experiment=quickstart"])
    lm = LM(assemble(config), config)
    lm.model.eval()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; the quickstart's model and task")
    with tempfile.TemporaryDirectory() as folder:
        task = il.tasks.build({"name": "mini", "root": folder, "scenes": 200, "controls": []})
        every = task.records()
        chosen = every[:: max(1, len(every) // ITEMS)][:ITEMS]  # evenly over all groups
        task.records = lambda: chosen  # type: ignore[method-assign]
        lm.reply([task.sample(chosen[0])], **task.generation)  # what the first call sets up
        alone, slow = one_by_one(lm, task)
        together, fast = batched(lm, task, Path(folder) / "out")
    same = sum(a == b for a, b in zip(alone, together, strict=True))
    print("| | seconds | items a second |")
    print("|---|--:|--:|")
    print(f"| one by one | {slow:.1f} | {len(chosen) / slow:.1f} |")
    print(f"| runner, batches of 64 | {fast:.1f} | {len(chosen) / fast:.1f} |")
    print(f"\n{slow / fast:.1f}x faster; {same} of {len(chosen)} replies are the same")
    sys.exit(0 if slow / fast >= 3 else 1)


if __name__ == "__main__":
    main()
