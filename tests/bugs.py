"""Bugs that multimodal training code really has, put in one at a time: each must turn a test red.

python tests/bugs.py
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]


class Bug(NamedTuple):
    name: str
    file: str
    right: str
    wrong: str
    tests: str


BUGS = [
    Bug(
        "document mask off", "interleave/attention.py",
        "torch.unique_consecutive(row, return_counts=True)[1].tolist()", "[len(row)]", "test_packing.py",
    ),
    Bug("tile order swapped", "interleave_plugins/modality/multipatch.py", ".transpose(1, 2)", "", "test_media.py"),
    Bug(
        "slot offset lost", "interleave/collate.py",
        "example.slots + b * length + start", "example.slots + b * length", "test_packing.py",
    ),
    Bug(
        "vision detached on text-only batches", "interleave/model.py",
        "seen[:0].flatten(0, 1)", "seen[:0].flatten(0, 1).detach()", "test_packing.py",
    ),
    Bug(
        "positions not reset", "interleave/collate.py",
        "torch.arange(n)", "torch.arange(start, start + n)", "test_packing.py",
    ),
    Bug(
        "special tokens allowed in user text", "interleave/render.py",
        "self.chat.encode(text, special=False)", "self.chat.encode(text, special=True)", "test_render.py",
    ),
    Bug(
        "end of turn not learned", "interleave/render.py",
        "self.template(self.chat.close(turn.role), learn)", "self.template(self.chat.close(turn.role))",
        "test_render.py",
    ),
    Bug(
        "format tokens not learned where the published models did", "interleave/render.py",
        "labels = torch.where(of_format, ids, labels)", "pass", "test_render.py",
    ),
    Bug(
        "newline lost", "interleave_plugins/llm/causal.py",
        "torch.where(separator[..., None], self.newline.to(rows.dtype), rows)", "rows", "test_checkpoint.py",
    ),
    Bug(
        "tied weights lost on import", "interleave/checkpoint/reading.py",
        "in second.items():\n        where", "in ():\n        where", "test_checkpoint.py",
    ),
    Bug(
        "columns and rows of pinpoints swapped", "interleave/checkpoint/onevision.py",
        "[[width, height] for height, width in", "[[width, height] for width, height in", "test_checkpoint.py",
    ),
    Bug("cache not cut", "interleave/session.py", "if surplus > 0:", "if surplus > 10**6:", "test_generate.py"),
    Bug(
        "half characters streamed", "interleave/generate.py", "text = text.rstrip(HALF)", "pass", "test_generate.py",
    ),
    Bug("adapters merged without their scale", "interleave/lora.py", " * lora.scale", "", "test_lora.py"),
    Bug(
        "reference of the rejected reply forgotten", "interleave/preference.py",
        "(rejected - reference[:, 1])", "rejected", "test_dpo.py",
    ),
    Bug(
        "an export that nobody compares", "interleave/proof.py", "if different:", "if not different and 0:",
        "test_convert.py",
    ),
    Bug(
        "full-stop quirk of the released scorer dropped", "interleave/metrics/published.py",
        ", count=MOST_STOPS)", ")", "test_metrics.py",
    ),
    Bug(
        "colon rule of the released scorer dropped", "interleave/metrics/published.py",
        'if ":" in said else []', "if False else []", "test_metrics.py",
    ),
    Bug(
        "categories weighted by items", "interleave/score.py",
        "fmean(means[dataset] for dataset in BENCH[name].datasets)",
        'fmean(x for d in BENCH[name].datasets for x in scores[d]["published"] if x is not None)', "test_score.py",
    ),
    Bug(
        "a task weighted by items", "interleave_plugins/task/interleave_bench.py",
        "levels=2)", "levels=0)", "test_interleave_bench.py",
    ),
    Bug(
        "dialogues asked without what was said before", "interleave_plugins/task/interleave_bench.py",
        'record["conversations"][:place], ', 'record["conversations"][place - 1 : place], ', "test_interleave_bench.py",
    ),
    Bug(
        "malformed judgements graded as zero", "interleave/judging.py",
        "return Grade(self.scores, self.text", 'return Grade(self.scores or {"score": 0.0}, self.text', "test_judge.py",
    ),
    Bug(
        "the cache takes one judge for another", "interleave/judging.py",
        "json.dumps([dict(judge.identity()), messages, attempt]", "json.dumps([messages, attempt]", "test_judge.py",
    ),
    Bug(
        "Retry-After ignored", "interleave_plugins/judge/endpoint.py",
        "retry_after(headers))", "None)", "test_judge.py",
    ),
    Bug(
        "the key told in an error", "interleave_plugins/judge/endpoint.py",
        'text.replace(self._key(), "***")', "text", "test_judge.py",
    ),
    Bug(
        "the rate of requests not kept", "interleave_plugins/judge/pace.py",
        "self._next = start + apart", "self._next = start", "test_judge.py",
    ),
    Bug(
        "loss divided per micro-batch", "interleave/module.py",
        "        return sums[0]\n", "        return sums[0] / sums[1]\n", "test_training.py",
    ),
    Bug(
        "packer drops the oldest", "interleave/collate.py",
        "enumerate(self.waiting) if i not in taken", "enumerate(self.waiting) if i and i not in taken",
        "test_packing.py",
    ),
    Bug(
        "the oldest may wait for ever", "interleave/collate.py",
        "self._row(number == 0,", "self._row(False,", "test_packing.py",
    ),
    Bug(
        "ranks differ in views", "interleave/filling.py", "abs(v - due)", "0", "test_filling.py",
    ),
    Bug(
        "cursor ignores what waits", "interleave/loader.py",
        "[place for place, _ in packer.waiting]", "[]", "test_loader.py",
    ),
    Bug(
        "replacement from another source", "interleave/loader.py",
        "                if single:\n                    break\n",
        "                if single:\n                    break\n                source = 1 - source\n",
        "test_loader.py",
    ),
    Bug(
        "ledger state not restored", "interleave/data.py",
        "self.train.ledger.restore(mine[\"ledger\"])", "pass", "test_loader.py",
    ),
    Bug(
        "what another number of ranks has left is dealt out twice", "interleave/data.py",
        "left[rank::world]", "left", "test_loader.py",
    ),
    Bug(
        "checkpoint written in place", "interleave/checkpoint/resuming.py",
        "target.with_name(f\".{target.name}.part\")", "target", "test_resuming.py",
    ),
    Bug(
        "OpenGL's axes taken for OpenCV's", "interleave_plugins/modality/scene/nerf.py", ") @ FLIP\n", ")\n",
        "test_scene_formats.py",
    ),
    Bug(
        "world to camera taken for camera to world", "interleave_plugins/modality/scene/colmap.py", ".inverse()", "",
        "test_scene_formats.py",
    ),
    Bug(
        "half a pixel lost", "interleave_plugins/modality/scene/matrices.py",
        "shifted(intrinsics, 0.5) if from_centre else intrinsics", "intrinsics", "test_scene_formats.py",
    ),
    Bug(
        "the moment of a ray lost", "interleave_plugins/modality/scene/rays.py",
        "torch.linalg.cross(origins.expand_as(unit), unit)", "origins.expand_as(unit)", "test_scene_encoding.py",
    ),
    Bug(
        "padding forgotten by rays", "interleave_plugins/modality/scene/rays.py",
        "[0, 1 / side, top / side]", "[0, 1 / side, 0]", "test_scene_encoding.py",
    ),
    Bug(
        "weights of adapters that a batch does not use out of its graph", "interleave/model.py",
        "0, 1), *idle])", "0, 1)])", "test_scene_weights.py",
    ),
    Bug(
        "a mesh's colours taken from the corners in another order", "interleave_plugins/modality/scene/surfaces.py",
        "np.stack([one, two, 1 - one - two], 1)", "np.stack([two, one, 1 - one - two], 1)", "test_meshes.py",
    ),
    Bug(
        "poses described and not added", "interleave_plugins/modality/scene3d.py",
        "super().merge(self.encoding(features, meta), meta)", "super().merge(features, meta)", "test_scene_views.py",
    ),
    Bug(
        "half a pair of MME counts as a pair", "interleave_plugins/task/mme.py",
        "if len(scores) > 1 and min(scores) == 1", "if min(scores) == 1", "test_tasks_image.py",
    ),
    Bug(
        "replies of a pair swapped for the judge", "interleave_plugins/task/videochatgpt.py",
        "for place in (1, 2)]\n            joined", "for place in (2, 1)]\n            joined", "test_tasks_video.py",
    ),
    Bug(
        "a score out of range believed", "interleave_plugins/task/judged.py",
        "if number and 0 <= value <= MOST else None", "if number else None", "test_tasks_video.py",
    ),
    Bug(
        "MVBench averaged over items", "interleave_plugins/task/mvbench.py",
        "fmean(fmean(scores) for scores in kinds.values())", "fmean(s for scores in kinds.values() for s in scores)",
        "test_tasks_video.py",
    ),
    Bug(
        "unreadable items left out without a word", "interleave/runner.py", "failed.append(made)", "pass",
        "test_runner.py",
    ),
    Bug("a torn line kept", "interleave/journal.py", "file.truncate(size)", "pass", "test_runner.py"),
    Bug(
        "ranks ask the same items", "interleave/evaluate.py", "left[rank::world]", "left[rank:]", "test_runner.py",
    ),
    Bug(
        "numbers drawn for replies during training", "interleave/periodic.py", "isolate_rng(), ", "",
        "test_periodic.py",
    ),
    Bug(
        "frozen parts put into training mode by a reply", "interleave/generate.py",
        "module.training = training", "module.training = True", "test_periodic.py",
    ),
]  # fmt: skip


def caught(bug: Bug) -> str | None:
    """The first test that fails with the bug in a copy of the code; None where all pass."""
    with tempfile.TemporaryDirectory() as name:
        site = Path(name, "site")
        shutil.copytree(ROOT / "src" / "interleave", site / "interleave")
        shutil.copytree(ROOT / "conf", site / "interleave" / "conf")
        shutil.copytree(ROOT / "plugins", site / "interleave_plugins")
        shutil.copytree(ROOT / "tests", Path(name, "tests"))
        path = site / bug.file
        text = path.read_text()
        assert text.count(bug.right) == 1, f"{bug.file} has {text.count(bug.right)} places for {bug.name!r}"
        path.write_text(text.replace(bug.right, bug.wrong))
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", f"tests/{bug.tests}"]
        done = subprocess.run(
            command, cwd=name, env={**os.environ, "PYTHONPATH": str(site)}, capture_output=True, text=True
        )
        failed = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("FAILED")]
        return failed[0] if failed else None


def main() -> int:
    results = {bug.name: caught(bug) for bug in BUGS}
    for name, test in results.items():
        print(f"{name}: {test or 'NOT CAUGHT'}")
    return 0 if all(results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
