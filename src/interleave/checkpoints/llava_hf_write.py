"""Everything but the weights of Transformers' Llava models: config, generation settings, tokenizer and processor."""

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

from transformers import (
    GenerationConfig,
    LlavaConfig,
    LlavaImageProcessorPil,
    LlavaOnevisionConfig,
    LlavaProcessor,
    PreTrainedTokenizerBase,
    ProcessorMixin,
    SiglipImageProcessorPil,
)

from ..core.options import Config
from ..core.types import VisionSpec
from .hf_chat_template import jinja_chat_template
from .layout import Export
from .limits import picture_fits

IMAGE = "<image>"


class LlavaFamily(Protocol):
    """What differs between the Llava layouts of Transformers when a model is described."""

    config_class: type[LlavaConfig | LlavaOnevisionConfig]
    marks: Sequence[str]

    def settings(self, export: Export, tokenizer: PreTrainedTokenizerBase) -> Config: ...

    def processor(self, export: Export, tokenizer: PreTrainedTokenizerBase, chat_template: str) -> ProcessorMixin: ...


def write_model_description(export: Export, folder: Path, layout: LlavaFamily, vocabulary_rows: int) -> None:
    """Write all files of the model in ``export`` but its weights to ``folder``.

    vocabulary_rows: rows of the embeddings as they are written, which may be more than the model has.
    """
    chat = export.model.llm.tokenizer
    tokenizer = copy.deepcopy(chat.tokenizer)  # the model's own stays without the marks
    tokenizer.add_special_tokens(
        {"additional_special_tokens": list(layout.marks)}, replace_extra_special_tokens=False
    )  # fmt: skip
    config = _model_config(export, layout, tokenizer, vocabulary_rows)
    config.save_pretrained(folder)
    _add_keys_of_version_4(folder / "config.json", export.dtype_name)
    GenerationConfig(eos_token_id=list(chat.stop_ids), pad_token_id=chat.pad_id).save_pretrained(folder)
    processor = layout.processor(export, tokenizer, jinja_chat_template(chat))
    processor.save_pretrained(folder)
    processor.image_processor.save_pretrained(folder)  # Transformers 4 looks for it in a file of its own


def _model_config(
    export: Export, layout: LlavaFamily, tokenizer: PreTrainedTokenizerBase, vocabulary_rows: int
) -> LlavaConfig | LlavaOnevisionConfig:
    vision = export.vision_config()
    text = copy.deepcopy(export.text_model.config)  # vocab_size is changed below
    text.vocab_size = vocabulary_rows
    image_token_id = tokenizer.convert_tokens_to_ids(IMAGE)
    assert isinstance(image_token_id, int)
    config = layout.config_class(
        vision_config=vision,
        text_config=text,
        image_token_index=image_token_id,
        # counted from the end: -1 is the last stored layer
        vision_feature_layer=export.num_run_layers - vision.num_hidden_layers - 1,
        vision_feature_select_strategy=feature_select_strategy(export),
        tie_word_embeddings=text.tie_word_embeddings,
        **layout.settings(export, tokenizer),
    )
    # vLLM and SGLang choose their class by this name
    config.architectures = [f"{type(config).__name__.removesuffix('Config')}ForConditionalGeneration"]
    return config


def _add_keys_of_version_4(path: Path, dtype: str) -> None:
    """Add to a ``config.json`` of Transformers 5 what version 4, vLLM and SGLang look for.

    They read the base of the rotary positions beside the other sizes, and the type of the weights by an older name.
    """
    config = json.loads(path.read_text(encoding="utf-8"))
    rope = config["text_config"].get("rope_parameters") or {}
    if "rope_theta" in rope:
        config["text_config"]["rope_theta"] = rope["rope_theta"]
    config["torch_dtype"] = dtype
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def llava_processor(export: Export, tokenizer: PreTrainedTokenizerBase, chat_template: str) -> LlavaProcessor:
    """The processor of ``llava``, which shows every picture as one view."""
    spec = export.model.vision_encoder.spec
    image_processor: LlavaImageProcessorPil | SiglipImageProcessorPil
    if "pad" in picture_fits(export.modalities):
        image_processor = LlavaImageProcessorPil(**pixel_settings(spec), do_pad=True, do_center_crop=False)
    else:
        image_processor = SiglipImageProcessorPil(**pixel_settings(spec))
    return LlavaProcessor(
        image_processor=image_processor,
        tokenizer=tokenizer,
        patch_size=spec.size // spec.grid,  # pixels
        vision_feature_select_strategy=feature_select_strategy(export),
        # the class token, which Transformers counts before it drops it
        num_additional_image_tokens=int(export.vision_model_type == "clip_vision_model"),
        chat_template=chat_template,
    )


def feature_select_strategy(export: Export) -> Literal["default", "full"]:
    """``default`` drops the tower's first token, the class token that only CLIP has; ``full`` drops nothing."""
    keeps_patches_only = export.parts["vision_encoder"].get("feature", "patch") == "patch"
    is_clip = export.vision_model_type == "clip_vision_model"
    return "default" if keeps_patches_only and is_clip else "full"


def pixel_settings(spec: VisionSpec) -> Config:
    """The options of an image processor of Transformers that makes square views as ``spec`` says."""
    return {
        "size": {"height": spec.size, "width": spec.size},
        "image_mean": list(spec.mean),
        "image_std": list(spec.std),
    }
