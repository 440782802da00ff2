"""Time and memory of importing a checkpoint of the size of the released 0.5B model, at random weights.

python benchmarks/importing.py
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from interleave_plugins.llm.base.chat_formats import byte_tokenizer
from transformers import Qwen2Config, Qwen2ForCausalLM, SiglipVisionConfig, SiglipVisionModel

from interleave.checkpoints import Shape, Tensors, write_file
from interleave.checkpoints.llava_original import TOWERS

TEXT = {
    "vocab_size": 151936, "hidden_size": 1024, "intermediate_size": 2816, "num_hidden_layers": 24,
    "num_attention_heads": 16, "num_key_value_heads": 16, "tie_word_embeddings": True, "max_position_embeddings": 32768,
}  # fmt: skip
TOWER = "google/siglip-so400m-patch14-384"
MEASURED = """
import sys, time, resource
import torch, interleave as il
import interleave.lm, interleave.convert
il.load_plugins()
before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.time()
{action}
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(f"{name} | {{time.time() - start:.1f}} s | {{peak / 2**20:.2f}} GiB, {{before / 2**20:.2f}} before the start |")
"""
ACTIONS = {
    "interleave.load": "lm = il.load(sys.argv[1])",
    "interleave.load and one step of a reply": "lm = il.load(sys.argv[1]); lm.chat('hello', max_new_tokens=1)",
    "convert --to native": "il.convert.convert(sys.argv[1], sys.argv[1] + '-native', 'native')",
    "convert --to llava": "il.convert.convert(sys.argv[1], sys.argv[1] + '-llava', 'llava')",
}


def draw(folder: Path) -> None:
    """The original layout, in bf16."""
    vision = {**TOWERS[TOWER], "num_hidden_layers": 26}
    with torch.device("meta"):
        text = Qwen2ForCausalLM(Qwen2Config(**TEXT)).state_dict()
        tower = SiglipVisionModel(SiglipVisionConfig(**vision, vision_use_head=False)).state_dict()
    shapes = {name: tensor.shape for name, tensor in text.items() if name != "lm_head.weight"}
    shapes |= {
        f"model.vision_tower.vision_tower.vision_model.{n.removeprefix('vision_model.')}": t.shape
        for n, t in tower.items()
    }
    shapes |= {"model.mm_projector.0.weight": torch.Size([1024, 1152]), "model.mm_projector.0.bias": torch.Size([1024])}
    shapes |= {"model.mm_projector.2.weight": torch.Size([1024, 1024]), "model.mm_projector.2.bias": torch.Size([1024])}
    listed = {name: Shape(tuple(shape), torch.bfloat16) for name, shape in shapes.items()}
    drawn = ((name, torch.randn(shape.shape, dtype=torch.bfloat16) * 0.02) for name, shape in listed.items())
    write_file(folder / "model.safetensors", listed, drawn)
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
        draw(folder)
        size = sum(shape.bytes for shape in Tensors(folder).shapes.values())
        print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, a checkpoint of {size / 2**30:.2f} GiB\n")
        print("| | time | peak of resident memory |\n|---|--:|--:|")
        for title, action in ACTIONS.items():
            code = MEASURED.format(action=action, name=f"| {title}")
            subprocess.run([sys.executable, "-c", code, str(folder)], check=True)


if __name__ == "__main__":
    main()
