"""Time and memory of importing a checkpoint of the size of the released 0.5B model, at random weights.

    python benchmarks/importing.py

Needs 6 GiB of disk in the temporary folder, and as much memory as the table then says.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from interleave_plugins.llm.base.chat_formats import byte_tokenizer
from transformers import Qwen2Config, Qwen2ForCausalLM, SiglipVisionConfig, SiglipVisionModel

from interleave.checkpoints import Tensors, TensorSpec, write_file
from interleave.checkpoints.llava_original_read import TOWER_SHAPES

TEXT = {
    "vocab_size": 151936, "hidden_size": 1024, "intermediate_size": 2816, "num_hidden_layers": 24,
    "num_attention_heads": 16, "num_key_value_heads": 16, "tie_word_embeddings": True, "max_position_embeddings": 32768,
}  # fmt: skip
"""The config of the language model, as Transformers names its options."""
TOWER = "google/siglip-so400m-patch14-384"
MEASURED = """
import sys, time, resource
import torch, interleave as il
import interleave.inference.lm
from interleave.export.convert import convert
il.load_plugins()
before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.time()
{action}
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(f"{name} | {{time.time() - start:.1f}} s | {{peak / 2**20:.2f}} GiB, {{before / 2**20:.2f}} before the start |")
"""
"""A program that prints a row of the table. Each action has a process of its own, as peaks of memory never go down.

Linux counts ru_maxrss in KiB.
"""
ACTIONS: Mapping[str, str] = {
    "interleave.load": "lm = il.load(sys.argv[1])",
    "interleave.load and one step of a reply": "lm = il.load(sys.argv[1]); lm.chat('hello', max_new_tokens=1)",
    "convert --to native": "convert(sys.argv[1], sys.argv[1] + '-native', 'native')",
    "convert --to llava": "convert(sys.argv[1], sys.argv[1] + '-llava', 'llava')",
}


def tensor_shapes() -> dict[str, torch.Size]:
    """The tensors of the original layout by name, without the tower's last layer, which the released model leaves out.

    The models are built on the meta device, so nothing is allocated.
    """
    vision = {**TOWER_SHAPES[TOWER], "num_hidden_layers": 26}
    with torch.device("meta"):
        text = Qwen2ForCausalLM(Qwen2Config(**TEXT)).state_dict()
        tower = SiglipVisionModel(SiglipVisionConfig(**vision, vision_use_head=False)).state_dict()
    shapes = {name: tensor.shape for name, tensor in text.items() if name != "lm_head.weight"}  # tied
    for name, tensor in tower.items():
        inner = name.removeprefix("vision_model.")
        shapes[f"model.vision_tower.vision_tower.vision_model.{inner}"] = tensor.shape
    shapes["model.mm_projector.0.weight"] = torch.Size([1024, 1152])
    shapes["model.mm_projector.0.bias"] = torch.Size([1024])
    shapes["model.mm_projector.2.weight"] = torch.Size([1024, 1024])
    shapes["model.mm_projector.2.bias"] = torch.Size([1024])
    return shapes


def write_checkpoint(folder: Path) -> None:
    """The original layout, in bf16, at random weights that are drawn while they are written."""
    specs = {name: TensorSpec(tuple(shape), torch.bfloat16) for name, shape in tensor_shapes().items()}
    drawn = ((name, torch.randn(spec.shape, dtype=torch.bfloat16) * 0.02) for name, spec in specs.items())
    write_file(folder / "model.safetensors", specs, drawn)
    config = {
        "model_type": "llava_qwen", **TEXT, "rope_theta": 1e6, "mm_vision_tower": TOWER, "image_aspect_ratio": "pad",
        "mm_projector_type": "mlp2x_gelu", "mm_patch_merge_type": "flat",
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    byte_tokenizer(["<|endoftext|>", "<|im_start|>", "<|im_end|>"]).save_pretrained(folder)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "original")
        folder.mkdir()
        write_checkpoint(folder)
        size = sum(spec.num_bytes for spec in Tensors(folder).specs.values())
        print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, a checkpoint of {size / 2**30:.2f} GiB\n")
        print("| | time | peak of resident memory |\n|---|--:|--:|")
        for title, action in ACTIONS.items():
            code = MEASURED.format(action=action, name=f"| {title}")
            subprocess.run([sys.executable, "-c", code, str(folder)], check=True)


if __name__ == "__main__":
    main()
