"""From the ``config.json`` of Transformers' Llava models to our config nodes."""

import json
from pathlib import Path
from typing import TypeVar

from huggingface_hub.errors import StrictDataclassError
from transformers import LlavaConfig, LlavaOnevisionConfig, PretrainedConfig

from ..core.errors import InputError, one_line
from ..core.options import Config
from .layout import Parts, require_supported

VISION_ENCODERS = {"siglip_vision_model": "siglip", "clip_vision_model": "clip"}
"""Transformers' model type of a vision tower -> the name of our vision encoder."""
ABOUT_FILES = {*PretrainedConfig().to_dict(), "use_cache"}
"""Options that every config of Transformers has and that say nothing of a model's shape."""

C = TypeVar("C", bound=PretrainedConfig)


def described_config(folder: Path, config: Config, config_class: type[C]) -> C:
    """The content of ``config.json`` as an object of ``config_class``, checked by Transformers.

    Raises InputError with the beginning of the reason that Transformers gives.
    """
    try:
        return config_class(**config)
    except (StrictDataclassError, ValueError, TypeError) as error:
        model_type = config_class.model_type
        raise InputError(f"{folder / 'config.json'} describes no {model_type} model: {one_line(error)}") from None


def model_parts(folder: Path, described: LlavaConfig | LlavaOnevisionConfig) -> Parts:
    """The config nodes of vision encoder, projector and language model.

    Raises InputError for a setting that the program has no part for.
    """
    vision, text = described.vision_config, described.text_config
    assert isinstance(vision, PretrainedConfig)
    assert isinstance(text, PretrainedConfig)
    require_supported(folder, "vision_config.model_type", vision.model_type, tuple(VISION_ENCODERS))
    require_supported(folder, "projector_hidden_act", described.projector_hidden_act, ("gelu",))
    require_supported(folder, "multimodal_projector_bias", described.multimodal_projector_bias, (True,))
    if not isinstance(described.vision_feature_layer, int):
        raise InputError(f"{folder / 'config.json'}: no part for several layers in vision_feature_layer")
    # both count hidden states from the end, so the number is taken as it is
    encoder: Parts = {
        "name": VISION_ENCODERS[vision.model_type],
        "select_layer": described.vision_feature_layer,
    }
    if encoder["name"] == "clip":  # SigLIP has no class token to keep or to drop
        keeps_class_token = described.vision_feature_select_strategy == "full"
        encoder["feature"] = "cls_patch" if keeps_class_token else "patch"
    # the outer config decides whether embeddings and head are one; the inner one may say otherwise
    text_options = {**plain_config(text), "tie_word_embeddings": described.tie_word_embeddings}
    return {
        "vision_encoder": {**encoder, "config": plain_config(vision)},
        "projector": {"name": "mlp", "depth": 2},
        "llm": {**_language_model(folder, text.model_type), "config": text_options, "tokenizer": str(folder)},
    }


def pads_pictures(folder: Path) -> bool:
    """Whether the image processor of ``folder`` pads pictures to squares before it resizes them."""
    for name in ("preprocessor_config.json", "processor_config.json"):
        path = folder / name
        if path.is_file():
            settings: Config = json.loads(path.read_text(encoding="utf-8"))
            # Transformers 5 keeps all processors in one file, version 4 each in its own
            settings = settings.get("image_processor", settings)
            return bool(settings.get("do_pad"))
    return False


def plain_config(config: PretrainedConfig) -> dict[str, object]:
    """The options of a config of Transformers that say what a model looks like, as values that YAML can hold."""
    # what the class itself adds, found by making one with its defaults
    own_options = type(config)().to_dict().keys() - ABOUT_FILES
    values: dict[str, object] = json.loads(config.to_json_string(use_diff=False))
    kept = {name: value for name, value in values.items() if name in own_options and value is not None}
    return kept | {"model_type": config.model_type}


def _language_model(folder: Path, model_type: str) -> dict[str, str | None]:
    """The language model's name and turn format, chosen by the special tokens that the folder's tokenizer has."""
    # a special token stands in one of three files, by the age of the tokenizer
    words = ""
    for name in ("tokenizer.json", "tokenizer_config.json", "added_tokens.json"):
        path = folder / name
        if path.is_file():
            words += path.read_text(encoding="utf-8")
    if model_type in ("qwen2", "qwen3") and "<|im_start|>" in words:
        return {"name": model_type}
    if model_type == "llama":  # LLaVA on Llama 1 and 2 speaks as Vicuna does; Llama 3 has tokens of its own
        return {"name": model_type, "chat": None if "<|start_header_id|>" in words else "vicuna"}
    # a Qwen2 whose tokenizer has no ChatML speaks as its own chat template says
    return {"name": "auto", "chat": "template" if model_type == "qwen2" else None}
