"""What is measured on: a checkpoint, photographs, clips, records and questions of real size, all made by this file."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import Qwen2Config, Qwen2ForCausalLM, SiglipVisionConfig, SiglipVisionModel

from interleave.checkpoints import TensorSpec, write_file
from interleave.checkpoints.llava_original_read import TOWER_SHAPES

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))

TEXT: Mapping[str, object] = {
    "vocab_size": 151936, "hidden_size": 1024, "intermediate_size": 2816, "num_hidden_layers": 24,
    "num_attention_heads": 16, "num_key_value_heads": 16, "tie_word_embeddings": True, "max_position_embeddings": 32768,
}  # fmt: skip
"""The released 0.5B model's language model, as Transformers names its options."""
TOWER = "google/siglip-so400m-patch14-384"
PHOTO = (4000, 3000)
CLIP = (1920, 1080)
CLIP_SECONDS, FRAMES_A_SECOND = 10, 24
NUM_PHOTOS, NUM_RECORDS, NUM_QUESTIONS = 8, 1_200_000, 100


def make(folder: Path) -> None:
    """Make in ``folder`` what is not there yet: 2.5 GB in two minutes, and the next run finds it."""
    folder.mkdir(parents=True, exist_ok=True)
    makers: Mapping[str, Callable[[Path], None]] = {
        "model": write_checkpoint, "photos": write_photos, "clip.mp4": write_clip, "records.jsonl": write_records,
        "questions.jsonl": write_questions,
    }  # fmt: skip
    for name, maker in makers.items():
        if not (folder / name).exists():
            part = folder / f"part-{name}"
            maker(part)
            part.rename(folder / name)


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
    shapes["model.image_newline"] = torch.Size([1024])
    return shapes


def write_checkpoint(folder: Path) -> None:
    """The original layout, in bf16, at random weights that are drawn while they are written; 1.6 GiB in one file."""
    from vocabulary import large_tokenizer  # of the tests

    folder.mkdir()
    specs = {name: TensorSpec(tuple(shape), torch.bfloat16) for name, shape in tensor_shapes().items()}
    drawn = ((name, torch.randn(spec.shape, dtype=torch.bfloat16) * 0.02) for name, spec in specs.items())
    write_file(folder / "model.safetensors", specs, drawn)
    config = {
        "model_type": "llava_qwen", **TEXT, "rope_theta": 1e6, "mm_vision_tower": TOWER,
        "image_aspect_ratio": "anyres_max_9", "image_grid_pinpoints": "(1x1),...,(6x6)",
        "mm_projector_type": "mlp2x_gelu", "mm_patch_merge_type": "spatial_unpad",
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    large_tokenizer().save_pretrained(folder)


def scenery(width: int, height: int, seed: int) -> NDArray[np.uint8]:
    """(height, width, 3) what looks like a photograph to a codec: detail at every scale, the finer the fainter (the
    spectrum of natural pictures), edges, and a sensor's grain."""
    rng = np.random.default_rng(seed)
    picture = np.full((height, width, 3), 120, dtype=np.float32)
    for octave in range(1, 9):
        cells = 2**octave
        coarse = Image.fromarray(rng.integers(0, 255, (cells * 3 // 4 + 1, cells, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)
        picture += (smooth - 128) * 1.2 / octave
    for _ in range(40):  # things with edges
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        picture[y : y + height // 9, x : x + width // 11] += rng.normal(0, 40, 3)
    picture += rng.normal(0, 3, (height, width, 1))
    return picture.clip(0, 255).astype(np.uint8)


def write_photos(folder: Path) -> None:
    """Photographs of 12 megapixels, JPEG as a camera writes it."""
    folder.mkdir()
    for i in range(NUM_PHOTOS):
        Image.fromarray(scenery(*PHOTO, seed=i)).save(folder / f"{i}.jpg", quality=92)


def write_clip(path: Path) -> None:
    """1080p H.264, a camera that pans over a scene, with a key frame every two seconds."""
    width, height = CLIP
    scene = scenery(width + 480, height, seed=100)
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FRAMES_A_SECOND, options={"preset": "veryfast", "g": "48"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for i in range(CLIP_SECONDS * FRAMES_A_SECOND):
            shown = np.ascontiguousarray(scene[:, 2 * i : 2 * i + width])
            frame = av.VideoFrame.from_ndarray(shown, format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, FRAMES_A_SECOND)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def records(count: int) -> Iterator[dict[str, object]]:
    """Records of LLaVA's form, every fourth about a photograph."""
    for i in range(count):
        shown = i % 4 == 0
        picture = {"image": f"{i % NUM_PHOTOS}.jpg"} if shown else {}
        question = f"What is to be seen here, and what did visitor {i} think of it? "
        answer = f"Visitor {i} saw a wide place under a clouded sky and thought that it would rain before long. "
        yield {
            "id": f"record-{i}",
            **picture,
            "conversations": [
                {"from": "human", "value": "<image>\n" * shown + question},
                {"from": "gpt", "value": answer * (1 + i % 5)},
            ],
        }


def write_records(path: Path) -> None:
    """1.2 million records as JSON lines."""
    with path.open("w") as file:
        for record in records(NUM_RECORDS):
            file.write(json.dumps(record) + "\n")


def write_questions(path: Path) -> None:
    """100 questions with four options, each about one of the photographs."""
    with path.open("w") as file:
        for i in range(NUM_QUESTIONS):
            choices = [f"It is number {i + k} of the list" for k in range(4)]
            item = {"question": f"Which one is this, number {i}?", "choices": choices, "answer": "ABCD"[i % 4]}
            file.write(json.dumps({"id": str(i), **item, "image": f"{i % NUM_PHOTOS}.jpg"}) + "\n")
