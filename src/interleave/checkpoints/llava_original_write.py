"""From config nodes to the authors' ``config.json``; ``llava_original_read`` is the reverse."""

from collections.abc import Mapping

from transformers import PretrainedConfig

from ..core.options import Config
from .layout import Export
from .limits import picture_fits
from .llava_original_read import NEWLINES, TOWER_SHAPES, tower_shape

LLM_KEYS = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
    "hidden_act", "max_position_embeddings", "rms_norm_eps", "tie_word_embeddings", "use_sliding_window",
    "sliding_window", "max_window_layers", "attention_dropout", "initializer_range", "bos_token_id", "eos_token_id",
)  # fmt: skip
"""Options of Qwen2 that lie beside the ``mm_*`` keys, under the same names as in Transformers."""


def description(export: Export) -> dict[str, object]:
    """The content of ``config.json``."""
    text = export.text_model.config.to_dict()
    vision = export.vision_config()
    # The authors' code drops SigLIP's last layer, so the tower that it is told of has one more than the model runs.
    drops_last_layer = vision.model_type.startswith("siglip")
    num_layers = export.num_run_layers + 1 if drops_last_layer else vision.num_hidden_layers
    select_layer = -2 if drops_last_layer else export.num_run_layers - num_layers - 1  # -1 is the last layer
    return {
        "architectures": ["LlavaQwenForCausalLM"],
        "model_type": "llava_qwen",
        **{key: text[key] for key in LLM_KEYS if key in text},
        "rope_theta": text["rope_parameters"]["rope_theta"],
        # stored layers may be fewer than the tower has, since the dropped one need not be there
        "vision_config": {**tower_shape(vision), "num_hidden_layers": num_layers},
        "mm_vision_tower": _tower_name(vision, num_layers),
        "mm_hidden_size": vision.hidden_size,
        "mm_vision_select_layer": select_layer,
        "mm_vision_select_feature": export.parts["vision_encoder"].get("feature", "patch"),
        "mm_projector_type": _projector_type(export.parts["projector"]),
        "mm_resampler_type": None,
        "use_mm_proj": True,
        "mm_use_im_start_end": False,
        "mm_use_im_patch_token": False,
        "tokenizer_padding_side": "right",
        "tokenizer_model_max_length": text["max_position_embeddings"],
        **modality_settings(export.modalities),
    }


def modality_settings(modalities: Mapping[str, Config]) -> dict[str, object]:
    """The keys that describe the geometry of what is shown. modalities: config nodes by kind."""
    image, tiles = modalities.get("image", {}), modalities.get("multipatch", {})
    video = modalities.get("video", {})
    # without pinpoints a picture is one view, and merging has no effect
    unpads_tiles = tiles.get("merge") == "spatial_unpad" and bool(tiles.get("pinpoints"))
    has_newline = image.get("newline", False) or unpads_tiles
    fits = picture_fits(modalities)
    settings: dict[str, object] = {
        "mm_patch_merge_type": "spatial_unpad" if has_newline else tiles.get("merge", "flat"),
        "image_aspect_ratio": fits[0] if fits else "square",
    }
    if tiles.get("pinpoints"):
        max_tiles = tiles.get("max_tiles")
        settings["image_aspect_ratio"] = f"anyres_max_{max_tiles}" if max_tiles else "anyres"
        settings["image_grid_pinpoints"] = tiles["pinpoints"]
    if video.get("stride", 1) > 1:
        settings["mm_spatial_pool_stride"] = video["stride"]
        settings["mm_spatial_pool_mode"] = video["pool"]
    if has_newline:
        positions = {newline: position for position, newline in NEWLINES.items()}
        settings["mm_newline_position"] = positions[video.get("newline", "none")]
    return settings


def _projector_type(node: Config) -> str:
    return "linear" if node["name"] == "linear" else f"mlp{node.get('depth', 2)}x_gelu"


def _tower_name(vision: PretrainedConfig, num_layers: int) -> str:
    """The hub name of a published tower of this shape; the kind of tower where there is none."""
    shape = {**tower_shape(vision), "num_hidden_layers": num_layers}
    for name, published in TOWER_SHAPES.items():
        if published.items() <= shape.items():
            return name
    return vision.model_type.removesuffix("_vision_model")
