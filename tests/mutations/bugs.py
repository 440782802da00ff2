"""Bugs that multimodal training code really has, put in one at a time: each must turn a test red.

python tests/mutations/bugs.py
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]


class Bug(NamedTuple):
    name: str
    file: str
    right: str
    wrong: str
    tests: str


BUGS = [
    Bug(
        "moments of 8 bits change in a step that is dropped",
        "interleave/training/small_states.py",
        "drop = found_inf.to(codes.device).bool()",
        "drop = found_inf.to(codes.device).bool() & False",
        "training/test_not_finite.py",
    ),
    Bug(
        "compile=true compiles nothing",
        "interleave/training/lightning_module.py",
        "if self.compiled:",
        "if False:",
        "training/test_compilation.py",
    ),
    Bug(
        "every rank has the scales of all rows beside its codes",
        "interleave/training/small_states.py",
        "if isinstance(weight, DTensor):",
        "if False:",
        "training/test_small_states.py",
    ),
    Bug(
        "moments in bfloat16 are cut off",
        "interleave/training/small_states.py",
        "torch.randint(1 << 16,",
        "torch.randint(1,",
        "training/test_small_states.py",
    ),
    Bug(
        "a worker sends all memory around a slice",
        "interleave/data/example_buffer.py",
        "if value.layout != torch.strided or",
        "if True or",
        "data/test_example_buffer.py",
    ),
    Bug(
        "a plan takes the language model's activations for the vision side's",
        "interleave/costs/rehearsal.py",
        'follows("llm")',
        'follows("vision")',
        "plan/test_measured.py",
    ),
    Bug(
        "a plan keeps every weight in half precision, too, until the step ends",
        "interleave/costs/rehearsal.py",
        "dtype, cache_enabled=False)",
        "dtype)",
        "plan/test_measured.py",
    ),
    Bug(
        "a plan takes attention to be as fast as a large product",
        "interleave/plan/step_time.py",
        "attention / rates.attention",
        "attention / rates.products",
        "plan/test_plan.py",
    ),
    Bug(
        "a plan does not wait for its data",
        "interleave/plan/step_time.py",
        "max(self.device, self.network, self.data)",
        "max(self.device, self.network)",
        "plan/test_rates.py",
    ),
    Bug(
        "chunks of views follow the batch",
        "interleave/model/interleaved_model.py",
        "shown = chunk if len(chunk) else pixel_values[:1]",
        "shown = chunk",
        "model/test_packing_changes_nothing.py",
    ),
    Bug(
        "attention's operator writes all rows into the first",
        "interleave/model/document_kernel.py",
        "row, begin = divmod(start, length)",
        "row, begin = 0, start % length",
        "model/test_packing_changes_nothing.py",
    ),
    Bug(
        "evaluation compiles",
        "interleave/training/compilation.py",
        "if not block.training:",
        "if False:",
        "training/test_compilation.py",
    ),
    Bug(
        "a rank ends its validation before the others",
        "interleave/data/packed_loader.py",
        "return agreed(told(self._batches()), self._blank, self._group)",
        "return told(self._batches())",
        "training/test_validation.py",
    ),
    Bug(
        "an error of one rank loses its place in the code",
        "interleave/data/agreement.py",
        "raise error or InputError(lines[0])",
        "raise InputError(lines[0])",
        "training/test_validation.py",
    ),
    Bug(
        "every rank reads the first shard",
        "interleave/training/parallelize_fill.py",
        "slice(offset, offset + size)",
        "slice(0, size)",
        "training/test_start.py",
    ),
    Bug(
        "adapters lost on the meta device",
        "interleave/training/lora.py",
        "    with _off_meta_device(model):\n        inject_adapter_in_model(peft_config(lora), model)\n",
        "    inject_adapter_in_model(peft_config(lora), model)\n",
        "training/test_start.py",
    ),
    Bug(
        "document mask off",
        "interleave/processing/collate.py",
        "        self.lengths.append(lengths)\n",
        "        self.lengths.append([self.sequence_length])\n",
        "model/test_packing_changes_nothing.py",
    ),
    Bug(
        "tile order swapped", "interleave_plugins/modality/multipatch.py", ".transpose(1, 2)", "", "media/test_media.py"
    ),
    Bug(
        "slot offset lost",
        "interleave/processing/collate.py",
        "example.visual_positions + b * self.sequence_length + start",
        "example.visual_positions + b * self.sequence_length",
        "model/test_packing_changes_nothing.py",
    ),
    Bug(
        "vision detached on text-only batches",
        "interleave/model/interleaved_model.py",
        "seen[:0].flatten(0, 1)",
        "seen[:0].flatten(0, 1).detach()",
        "model/test_packing_changes_nothing.py",
    ),
    Bug(
        "positions not reset",
        "interleave/processing/collate.py",
        "torch.arange(n)",
        "torch.arange(start, start + n)",
        "model/test_packing_changes_nothing.py",
    ),
    Bug(
        "special tokens allowed in user text",
        "interleave/processing/render.py",
        "self.chat.encode(text, special=False)",
        "self.chat.encode(text, special=True)",
        "processing/test_render.py",
    ),
    Bug(
        "end of turn not learned",
        "interleave/processing/render.py",
        "self.write_format(self.chat.close(message.role), learn)",
        "self.write_format(self.chat.close(message.role))",
        "processing/test_render.py",
    ),
    Bug(
        "format tokens not learned where the published models did",
        "interleave/processing/render.py",
        "labels = torch.where(of_format, ids, labels)",
        "pass",
        "processing/test_render.py",
    ),
    Bug(
        "newline lost",
        "interleave_plugins/llm/base/causal_lm.py",
        "torch.where(separator[..., None], self.newline.to(rows.dtype), rows)",
        "rows",
        "checkpoints/test_checkpoint.py",
    ),
    Bug(
        "tied weights lost on import",
        "interleave/checkpoints/load.py",
        "in owners.items():\n        module_name",
        "in ():\n        module_name",
        "checkpoints/test_checkpoint.py",
    ),
    Bug(
        "columns and rows of pinpoints swapped",
        "interleave/checkpoints/llava_onevision_hf.py",
        "[[width, height] for height, width in",
        "[[width, height] for width, height in",
        "checkpoints/test_checkpoint.py",
    ),
    Bug(
        "cache not cut",
        "interleave/inference/session.py",
        "if surplus > 0:",
        "if surplus > 10**6:",
        "inference/test_generate.py",
    ),
    Bug(
        "half characters streamed",
        "interleave/inference/streaming.py",
        "text = text.rstrip(REPLACEMENT_CHARACTER)",
        "pass",
        "inference/test_generate.py",
    ),
    Bug(
        "adapters merged without their scale",
        "interleave/training/lora.py",
        " * lora.scale",
        "",
        "training/test_lora.py",
    ),
    Bug(
        "a rank asks for no share of the pairs",
        "interleave/training/references.py",
        "unknown[global_rank() :: world_size()]",
        "unknown[0 :: world_size()]",
        "training/test_dpo.py",
    ),
    Bug(
        "reference of the rejected reply forgotten",
        "interleave/training/dpo.py",
        "(rejected - reference[:, 1])",
        "rejected",
        "training/test_dpo.py",
    ),
    Bug(
        "an export that nobody compares",
        "interleave/export/verify.py",
        "if different:",
        "if not different and 0:",
        "checkpoints/test_convert.py",
    ),
    Bug(
        "full-stop quirk of the released scorer dropped",
        "interleave/scoring/metrics/published.py",
        ", count=MOST_STOPS)",
        ")",
        "scoring/test_metrics.py",
    ),
    Bug(
        "colon rule of the released scorer dropped",
        "interleave/scoring/metrics/published.py",
        'if ":" in chosen:',
        "if False:",
        "scoring/test_metrics.py",
    ),
    Bug(
        "categories weighted by items",
        "interleave/scoring/score_files.py",
        "fmean(means[dataset] for dataset in task.datasets)",
        'fmean(x for d in task.datasets for x in scores[d]["published"] if x is not None)',
        "scoring/test_score.py",
    ),
    Bug(
        "a task weighted by items",
        "interleave_plugins/task/interleave_bench.py",
        "levels=2)",
        "levels=0)",
        "plugins/test_interleave_bench.py",
    ),
    Bug(
        "dialogues asked without what was said before",
        "interleave_plugins/task/interleave_bench.py",
        "asked = turns[:place]",
        "asked = turns[place - 1 : place]",
        "plugins/test_interleave_bench.py",
    ),
    Bug(
        "malformed judgements graded as zero",
        "interleave/evaluation/judging.py",
        "return Grade(self.scores, self.text",
        'return Grade(self.scores or {"score": 0.0}, self.text',
        "evaluation/test_judge.py",
    ),
    Bug(
        "the cache takes one judge for another",
        "interleave/evaluation/judging.py",
        "json.dumps([dict(judge.identity()), messages, attempt]",
        "json.dumps([messages, attempt]",
        "evaluation/test_judge.py",
    ),
    Bug(
        "Retry-After ignored",
        "interleave_plugins/judge/base/http_endpoint.py",
        "retry_after(headers))",
        "None)",
        "evaluation/test_judge.py",
    ),
    Bug(
        "the key told in an error",
        "interleave_plugins/judge/base/http_endpoint.py",
        'text.replace(self._key(), "***")',
        "text",
        "evaluation/test_judge.py",
    ),
    Bug(
        "the rate of requests not kept",
        "interleave_plugins/judge/base/rate_limit.py",
        "self._next = start + apart",
        "self._next = start",
        "evaluation/test_judge.py",
    ),
    Bug(
        "loss divided per micro-batch",
        "interleave/training/lightning_module.py",
        "        return sums.loss\n",
        "        return sums.loss / sums.count\n",
        "training/test_training.py",
    ),
    Bug(
        "packer drops the oldest",
        "interleave/data/packing.py",
        "enumerate(self.waiting) if i not in taken",
        "enumerate(self.waiting) if i and i not in taken",
        "model/test_packing_changes_nothing.py",
    ),
    Bug(
        "the oldest may wait for ever",
        "interleave/data/packing.py",
        "self._row(number == 0,",
        "self._row(False,",
        "model/test_packing_changes_nothing.py",
    ),
    Bug(
        "ranks differ in views",
        "interleave/data/row_filling.py",
        "abs(views - due_views)",
        "0",
        "data/test_row_filling.py",
    ),
    Bug(
        "cursor ignores what waits",
        "interleave/data/packed_loader.py",
        "[place for place, _ in packer.waiting]",
        "[]",
        "data/test_loader.py",
    ),
    Bug(
        "replacement from another source",
        "interleave/data/feed.py",
        "            if single_pass:\n                return None\n",
        "            if single_pass:\n                return None\n            source = 1 - source\n",
        "data/test_loader.py",
    ),
    Bug(
        "a dead worker is told of in the middle of a step",
        "interleave/data/worker_deaths.py",
        "        if self.waits:\n",
        "        if True:\n",
        "data/test_worker_deaths.py",
    ),
    Bug(
        "an error in one rank's training data leaves the others waiting",
        "interleave/data/packed_loader.py",
        "        return agreed(told(",
        "        if self.mixture.seed is not None:\n            return self._batches()\n        return agreed(told(",
        "training/test_broken_ranks.py",
    ),
    Bug(
        "what was read ahead of the steps counts",
        "interleave/data/datamodule.py",
        'mine = self.train.ledger.state(cursor["ledger"]), cursor["read"]',
        'mine = self.train.ledger.state(len(self.train.ledger.entries)), cursor["read"]',
        "data/test_prefetch.py",
    ),
    Bug(
        "an error of the thread that makes batches is lost",
        "interleave/data/prefetch.py",
        "            error = caught\n",
        "            pass\n",
        "data/test_prefetch.py",
    ),
    Bug(
        "ledger state not restored",
        "interleave/data/datamodule.py",
        'self.train.ledger.restore(mine["ledger"])',
        "pass",
        "data/test_loader.py",
    ),
    Bug(
        "what another number of ranks has left is dealt out twice",
        "interleave/data/datamodule.py",
        "left[rank::world]",
        "left",
        "data/test_loader.py",
    ),
    Bug(
        "checkpoint written in place",
        "interleave/core/files.py",
        'target.with_name(f".{target.name}.part")',
        "target",
        "training/test_resuming.py",
    ),
    Bug(
        "a thread writes what the training has changed",
        "interleave/training/checkpointing.py",
        "self._staging.copies(share)",
        "share",
        "training/test_checkpointing.py",
    ),
    Bug(
        "threads of ranks write what the training has changed",
        "interleave/training/checkpointing.py",
        "self._staging.copies(share)",
        "share",
        "training/test_checkpointing.py::test_ranks_write_the_same_bytes_whether_they_wait_or_go_on",
    ),
    Bug(
        "SIGTERM told to other ranks in the middle of a collective",
        "interleave/training/preemption.py",
        "if trainer.world_size == 1:",
        "if True:",
        "launch/test_launch.py::test_a_job_at_its_time_limit_is_queued_again_and_goes_on",
    ),
    Bug(
        "any class made from the index of a checkpoint",
        "interleave/training/checkpoint_files.py",
        "if name in _PART_OF_AN_INDEX.get(module, ()):",
        "if name:",
        "training/test_resuming.py",
    ),
    Bug(
        "OpenGL's axes taken for OpenCV's",
        "interleave_plugins/scenes/readers/nerf.py",
        ") @ OPENGL_TO_OPENCV\n",
        ")\n",
        "plugins/scenes/test_scene_formats.py",
    ),
    Bug(
        "world to camera taken for camera to world",
        "interleave_plugins/scenes/readers/colmap.py",
        ".inverse()",
        "",
        "plugins/scenes/test_scene_formats.py",
    ),
    Bug(
        "half a pixel lost",
        "interleave_plugins/scenes/cameras.py",
        "shift_origin(intrinsics, 0.5) if from_centre else intrinsics",
        "intrinsics",
        "plugins/scenes/test_scene_formats.py",
    ),
    Bug(
        "the moment of a ray lost",
        "interleave_plugins/scenes/patch_rays.py",
        "torch.linalg.cross(origins.expand_as(unit), unit)",
        "origins.expand_as(unit)",
        "plugins/scenes/test_patch_rays.py",
    ),
    Bug(
        "padding forgotten by rays",
        "interleave_plugins/scenes/patch_rays.py",
        "[0, 1 / side, top / side]",
        "[0, 1 / side, 0]",
        "plugins/scenes/test_patch_rays.py",
    ),
    Bug(
        "weights of adapters that a batch does not use out of its graph",
        "interleave/model/interleaved_model.py",
        "0, 1), *idle, *merged])",
        "0, 1), *merged])",
        "plugins/scenes/test_scene_weights.py",
    ),
    Bug(
        "a mesh's colours taken from the corners in another order",
        "interleave_plugins/scenes/ray_casting.py",
        "np.stack([one, two, 1 - one - two], 1)",
        "np.stack([two, one, 1 - one - two], 1)",
        "plugins/scenes/test_meshes.py",
    ),
    Bug(
        "poses described and not added",
        "interleave_plugins/modality/scene3d.py",
        "super().merge(self.encoding(features, meta), meta)",
        "super().merge(features, meta)",
        "plugins/scenes/test_scene3d_adapter.py",
    ),
    Bug(
        "half a pair of MME counts as a pair",
        "interleave_plugins/task/mme.py",
        "if len(scores) > 1 and min(scores) == 1",
        "if min(scores) == 1",
        "plugins/test_tasks_image.py",
    ),
    Bug(
        "replies of a pair swapped for the judge",
        "interleave_plugins/task/videochatgpt.py",
        "for place in (1, 2)]\n            joined",
        "for place in (2, 1)]\n            joined",
        "plugins/test_tasks_video.py",
    ),
    Bug(
        "a score out of range believed",
        "interleave_plugins/task/base/judge_prompts.py",
        "float(value) if 0 <= value <= MOST else None",
        "float(value)",
        "plugins/test_tasks_video.py",
    ),
    Bug(
        "MVBench averaged over items",
        "interleave_plugins/task/mvbench.py",
        "fmean(fmean(scores) for scores in kinds.values())",
        "fmean(s for scores in kinds.values() for s in scores)",
        "plugins/test_tasks_video.py",
    ),
    Bug(
        "unreadable items left out without a word",
        "interleave/evaluation/runner.py",
        "failed.append(made)",
        "pass",
        "evaluation/test_runner.py",
    ),
    Bug(
        "a torn line kept",
        "interleave/evaluation/reply_journal.py",
        "file.truncate(size)",
        "pass",
        "evaluation/test_runner.py",
    ),
    Bug(
        "ranks ask the same items",
        "interleave/evaluation/evaluate.py",
        "left[rank::world]",
        "left[rank:]",
        "evaluation/test_runner.py",
    ),
    Bug(
        "numbers drawn for replies during training",
        "interleave/training/evaluation_callback.py",
        "isolate_rng(), ",
        "",
        "evaluation/test_periodic.py",
    ),
    Bug(
        "frozen parts put into training mode by a reply",
        "interleave/inference/generate.py",
        "module.training = training",
        "module.training = True",
        "evaluation/test_periodic.py",
    ),
    Bug(
        "a step that is not finite is taken",
        "interleave/training/step_guard.py",
        "(~finite).float()",
        "(~finite).float() * 0",
        "training/test_not_finite.py",
    ),
    Bug(
        "a step that waits for the device",
        "interleave/training/lightning_module.py",
        "if is_log_step(self.trainer, step):",
        "if step:",
        "training/test_waits.py",
    ),
    Bug(
        "the head's gradient added up in half precision",
        "interleave/model/matrix_loss.py",
        "torch.zeros_like(weight, dtype=self.loss.dtype)",
        "torch.zeros_like(weight)",
        "model/test_packing_changes_nothing.py",
    ),
    Bug(
        "softmax of a half precision head written nowhere",
        "interleave/model/matrix_loss.py",
        "logits.copy_(exact.div_(total)",
        "exact.copy_(exact.div_(total)",
        "model/test_packing_changes_nothing.py",
    ),
    Bug(
        "Lightning reads checkpoints of the working directory",
        "interleave/training/build.py",
        '"default_root_dir": config["run"]',
        '"default_root_dir": None',
        "training/test_run_folder.py",
    ),
    Bug(
        "frames of videos padded",
        "interleave/checkpoints/llava_hf.py",
        '"times": False, "fit": "square"',
        '"times": False, "fit": fit',
        "checkpoints/test_convert.py",
    ),
    Bug(
        "several pictures shown in chat as a single one",
        "interleave/inference/chat_command.py",
        "lm.single_picture if ",
        "lm.single_picture if True or ",
        "evaluation/test_evaluate.py",
    ),
    Bug(
        "growth fitted without its mean",
        "interleave/bench/stopwatch.py",
        "(x - mean_x) * (y - mean_y)",
        "x * y",
        "bench/test_bench.py",
    ),
    Bug(
        "documents of the benchmark's padded peer see its padding",
        "interleave/bench/kernel_peers.py",
        "whole = [one[:, :n] for one, n in zip(out, lengths, strict=True)]",
        "whole = [one[:, -n:] for one, n in zip(out, lengths, strict=True)]",
        "bench/test_bench.py",
    ),
    Bug(
        "changed messages kept in a growing prompt",
        "interleave/processing/render.py",
        "and all(_same(one, other) for one, other in pairs)",
        "",
        "inference/test_session.py",
    ),
    Bug(
        "reordered keys taken for those in the reserved memory",
        "interleave/inference/key_value_cache.py",
        "room.data_ptr() == kept.data_ptr()",
        "True",
        "inference/test_session.py",
    ),
    Bug(
        "a sharded head called once a chunk",
        "interleave/model/loss.py",
        "own: Head = matrix.forward",
        "return _in_chunks(states, targets.ids, head, chunk)",
        "model/test_packing_changes_nothing.py",
    ),
    Bug(
        "a resumed run begins within a step",
        "interleave/training/lightning_module.py",
        "counts.increment_by(-counts.ready % self.trainer.accumulate_grad_batches)",
        "counts.increment_by(0)",
        "training/test_layouts.py",
    ),
    Bug(
        "a rank that keeps all weights while it writes them",
        "interleave/training/weight_export.py",
        "write_file(path, specs, _on_cpu(specs, weights))",
        "write_file(path, specs, list(_on_cpu(specs, weights)))",
        "training/test_weight_export.py",
    ),
    Bug(
        "each rank clips by the norm of its own shards",
        "interleave/training/parallelize.py",
        "norm.full_tensor()",
        "norm.to_local()",
        "training/test_sharding.py",
    ),
    Bug(
        "gradients reduced after every micro-batch",
        "interleave/training/parallelize.py",
        "switch(False)",
        "switch(True)",
        "training/test_sharding.py",
    ),
    Bug(
        "whole frozen towers sharded with the root",
        "interleave/training/parallelize_units.py",
        "ignored |= _keep_whole(tower, dtype)",
        "_keep_whole(tower, dtype)",
        "training/test_sharding.py",
    ),
    Bug(
        "a frozen vision encoder gathered block by block",
        "interleave/training/parallelize_units.py",
        "if not _is_frozen([vision]):",
        "if True:",
        "training/test_sharding.py",
    ),
]


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
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-x",
            "-q",
            "-p",
            "no:cacheprovider",
            "--import-mode=importlib",
            "-o",
            "pythonpath=tests/support",
            f"tests/{bug.tests}",
        ]
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
