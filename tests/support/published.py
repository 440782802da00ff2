"""Tiny checkpoints in the published layouts, at random weights, made by Transformers itself where it has the layout."""

import json
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    SiglipVisionConfig,
    SiglipVisionModel,
)

Model = TypeVar("Model", bound=PreTrainedModel)

SIZE, PATCH = 42, 14
"""Sides of a view and of a patch, in pixels."""
TEXT: dict[str, int | float] = {
    "vocab_size": 300, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "initializer_range": 0.2, "max_position_embeddings": 4096,
}  # fmt: skip
"""The language model, in the terms of Transformers."""
VISION: dict[str, int] = {
    "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": SIZE,
    "patch_size": PATCH,
}  # fmt: skip
"""The vision tower, in the terms of Transformers."""
PINPOINTS = [[42, 84], [84, 84], [42, 126]]
"""(height, width) of the grids of tiles; with the two swapped they would be others, so that a test notices."""


def tokenizer(*more: str, without: str = "") -> PreTrainedTokenizerFast:
    """A tokenizer of bytes and the special tokens of Qwen. more: further special tokens. without: one to leave out."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    special = [t for t in ("<|endoftext|>", "<|im_start|>", "<|im_end|>", *more) if t != without]
    made = PreTrainedTokenizerFast(tokenizer_object=core, clean_up_tokenization_spaces=False)
    made.add_special_tokens({"additional_special_tokens": special})
    return made


def original(folder: Path, tied: bool = False, shards: int = 1, pickled: bool = False, **changes: Any) -> Path:
    """Write the authors' layout, ``LlavaQwenForCausalLM``: the tower without its last layer, and the newline.

    tied: embeddings are the head, which the file then leaves out.
    shards, pickled: as of ``write``.
    changes: of ``config.json``. Returns the folder, which must not exist yet.
    """
    torch.manual_seed(0)
    folder.mkdir(parents=True)
    text = Qwen2ForCausalLM(Qwen2Config(**TEXT, tie_word_embeddings=tied))
    shape = {**VISION, "num_hidden_layers": VISION["num_hidden_layers"] - 1}
    tower = SiglipVisionModel(SiglipVisionConfig(**shape, vision_use_head=False))
    state = dict(text.state_dict())
    if tied:
        del state["lm_head.weight"]
    for name, tensor in tower.state_dict().items():
        inner = name.removeprefix("vision_model.")
        state[f"model.vision_tower.vision_tower.vision_model.{inner}"] = tensor * 3  # so large that an error shows
    wide, narrow = TEXT["hidden_size"], VISION["hidden_size"]
    projector = {"0.weight": (wide, narrow), "0.bias": (wide,), "2.weight": (wide, wide), "2.bias": (wide,)}
    for name, size in projector.items():
        state[f"model.mm_projector.{name}"] = torch.randn(size) * 0.3
    state["model.image_newline"] = torch.randn(wide)
    config = {
        "architectures": ["LlavaQwenForCausalLM"], "model_type": "llava_qwen", **TEXT, "tie_word_embeddings": tied,
        "rope_theta": 1e6, "mm_vision_tower": "siglip",
        "vision_config": {**VISION, "model_type": "siglip_vision_model"},
        "mm_projector_type": "mlp2x_gelu", "mm_hidden_size": narrow, "mm_vision_select_layer": -2,
        "mm_patch_merge_type": "flat", "image_aspect_ratio": "pad", **changes,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer().save_pretrained(folder)
    write(folder, state, shards, pickled)
    return folder


def write(folder: Path, state: dict[str, Tensor], shards: int = 1, pickled: bool = False) -> None:
    """Write tensors as Transformers does: safetensors or pickled, in one file or in shards with an index."""
    names = sorted(state)
    parts = [{n: state[n].contiguous().clone() for n in names[i::shards]} for i in range(shards)]
    stem, end = ("pytorch_model", "bin") if pickled else ("model", "safetensors")
    files = [f"{stem}-{i + 1:05d}-of-{shards:05d}.{end}" if shards > 1 else f"{stem}.{end}" for i in range(shards)]
    for file, part in zip(files, parts, strict=True):
        if pickled:
            torch.save(part, folder / file)
        else:
            save_file(part, folder / file, {"format": "pt"})
    if shards > 1:
        homes = {name: files[number % shards] for number, name in enumerate(names)}  # as they were dealt out above
        (folder / f"{stem}.{end}.index.json").write_text(json.dumps({"weight_map": homes}))


def _configs(tied: bool) -> tuple[Qwen2Config, SiglipVisionConfig]:
    shape = {**VISION, "num_hidden_layers": VISION["num_hidden_layers"] - 1}
    return Qwen2Config(**TEXT, tie_word_embeddings=tied), SiglipVisionConfig(**shape, vision_use_head=False)


def _randomly(model: Model) -> Model:
    """Draw all weights anew, larger than usual, so that every one of them changes the logits; norms stay 1."""
    torch.manual_seed(1)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    for name, parameter in model.named_parameters():
        if "norm" in name and name.endswith("weight"):
            torch.nn.init.ones_(parameter)
    return model.eval()


def llava(folder: Path, tied: bool = False) -> LlavaForConditionalGeneration:
    """Write a model as llava-hf/llava-interleave-qwen-0.5b-hf: the last layer of a tower without head, ``full``."""
    text, vision = _configs(tied)
    tokens = tokenizer("<image>")
    config = LlavaConfig(
        vision_config=vision, text_config=text, vision_feature_layer=-1, vision_feature_select_strategy="full",
        image_token_index=tokens.convert_tokens_to_ids("<image>"), tie_word_embeddings=tied,
    )  # fmt: skip
    model = _randomly(LlavaForConditionalGeneration(config))
    model.save_pretrained(folder)
    tokens.save_pretrained(folder)
    return model


def llava_15(folder: Path) -> LlavaForConditionalGeneration:
    """Write a model as llava-hf/llava-1.5-7b-hf: CLIP's last layer but one without class token, Llama, Vicuna."""
    shape = {k: v for k, v in TEXT.items() if k != "vocab_size"}
    tokens = tokenizer("<s>", "</s>", "<image>")
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**VISION), text_config=LlamaConfig(**shape, vocab_size=280),
        vision_feature_layer=-2, vision_feature_select_strategy="default",
        image_token_index=tokens.convert_tokens_to_ids("<image>"),
    )  # fmt: skip
    model = _randomly(LlavaForConditionalGeneration(config))
    model.save_pretrained(folder)
    tokens.save_pretrained(folder)
    return model


def onevision(folder: Path, tied: bool = True) -> LlavaOnevisionForConditionalGeneration:
    """Write a model as llava-hf/llava-onevision-qwen2-0.5b-ov-hf."""
    text, vision = _configs(tied)
    tokens = tokenizer("<image>", "<video>")
    config = LlavaOnevisionConfig(
        vision_config=vision, text_config=text, image_grid_pinpoints=PINPOINTS, vision_aspect_ratio="anyres_max_1",
        image_token_index=tokens.convert_tokens_to_ids("<image>"), tie_word_embeddings=tied,
        video_token_index=tokens.convert_tokens_to_ids("<video>"),
    )  # fmt: skip
    model = _randomly(LlavaOnevisionForConditionalGeneration(config))
    model.save_pretrained(folder)
    tokens.save_pretrained(folder)
    return model
