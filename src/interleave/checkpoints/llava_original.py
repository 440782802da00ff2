"""The layout of the authors' own code: ``LlavaQwenForCausalLM``."""

import ast
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import AutoConfig

from ..core.errors import InputError
from .layout import (
    Export,
    Parts,
    known,
    misfits,
    picture_fits,
    posed,
    text_model,
    text_type,
    tower,
    unposed,
    used_layers,
    vision_config,
)
from .tensor_files import Shape

VISION = "model.vision_tower.vision_tower.vision_model."
TOWERS: Mapping[str, Mapping[str, Any]] = {
    "google/siglip-so400m-patch14-384": {
        "hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27, "num_attention_heads": 16,
        "image_size": 384, "patch_size": 14,
    },
}  # fmt: skip
"""Shapes of the towers that published configs name without describing them."""
LLM_KEYS = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
    "hidden_act", "max_position_embeddings", "rms_norm_eps", "tie_word_embeddings", "use_sliding_window",
    "sliding_window", "max_window_layers", "attention_dropout", "initializer_range", "bos_token_id", "eos_token_id",
)  # fmt: skip
POOLS = ("average", "max", "bilinear")
MERGES = ("flat", "spatial", "spatial_unpad")
NEWLINES = {"one_token": "one_token", "frame": "frame", "grid": "grid", "no_token": "none"}


class Original:
    """``config.json`` with ``mm_*`` keys; the vision tower lies inside the language model's names."""

    name = "original"

    def recognises(self, folder: Path, config: Mapping[str, Any]) -> bool:
        return config.get("model_type") == "llava_qwen"

    def parts(self, folder: Path, config: Mapping[str, Any]) -> Parts:
        llm = {key: config[key] for key in LLM_KEYS if key in config}
        llm["rope_parameters"] = _rope(config)
        return {
            "vision_encoder": _vision(folder, config),
            "projector": _projector(folder, config),
            "llm": {"name": "qwen2", "config": llm, "tokenizer": str(folder)},
            "modality": modalities(folder, config),
            "single_picture": "multipatch" if "anyres" in str(config.get("image_aspect_ratio")) else "image",
        }

    def to_native(self, name: str) -> str | None:
        if name.startswith(VISION):
            return "vision_encoder." + name.removeprefix(VISION).replace("encoder.layers.", "layers.")
        if name.startswith("model.mm_projector."):
            return name.replace("model.mm_projector.", "projector.")
        if name == "model.image_newline":
            return "llm.newline"
        if name.startswith("model.vision_tower.") or name.startswith("model.vision_resampler."):
            return None
        return f"llm.model.{name}"

    def from_native(self, name: str, used: bool) -> str | None:
        group, _, rest = name.partition(".")
        if group == "vision_encoder":
            return VISION + re.sub(r"^layers\.", "encoder.layers.", rest)
        if group == "projector":
            return f"model.mm_projector.{rest}"
        if group == "modality":
            return None
        return "model.image_newline" if name == "llm.newline" else name.removeprefix("llm.model.")

    def refuses(self, export: Export) -> dict[str, str]:
        model, parts = export.model, export.parts
        found = misfits(parts["modality"])
        if tower(model.vision_encoder) not in ("siglip_vision_model", "clip_vision_model"):
            found["vision_encoder"] = f"it knows SigLIP and CLIP towers, not {parts['vision_encoder']['name']}"
        if parts["projector"]["name"] not in ("mlp", "linear"):
            found["projector"] = f"it is written here with mlp and linear projectors, not {parts['projector']['name']}"
        if text_type(model.llm) != "qwen2":
            found["llm"] = f"it holds Qwen2 models, not {parts['llm']['name']}"
        elif not model.llm.tokenizer.open("user").startswith("<|im_start|>"):
            found["llm"] = f"it speaks ChatML, and the turns of this model are {model.llm.tokenizer.open('user')}..."
        kinds = parts["modality"]
        video, scene = kinds.get("video"), kinds.get("scene3d")
        views = ("frame" if kinds.get("image", {}).get("newline") else "none", 1)
        if scene and (scene.get("newline", "none"), scene.get("stride", 1)) != views:
            found["scene3d"] = "its views are pictures, and the two differ in newline or pooling"
        if (video or {}).get("times"):
            found["times"] = "it writes no time before a frame"
        return found | posed(kinds)

    def without(self, parts: Parts, drop: Sequence[str]) -> Parts:
        """One fit for all, no times, no cameras, and 3D views as the pictures are."""
        kinds = {kind: dict(node) for kind, node in parts["modality"].items()}
        image = kinds.get("image", {})
        if "fit" in drop:
            fit = image.get("fit", "square")
            kinds = {kind: {**node, "fit": "square" if kind == "video" else fit} for kind, node in kinds.items()}
        if "times" in drop:
            kinds["video"]["times"] = False
        if "scene3d" in kinds:
            kinds["scene3d"] = unposed(kinds["scene3d"], drop)
        if "scene3d" in drop:
            kinds["scene3d"] |= {"newline": "frame" if image.get("newline") else "none", "stride": 1}
        return {**parts, "modality": kinds}

    def added(self, export: Export) -> dict[str, Shape]:
        return {}

    def rows(self, export: Export) -> int:
        return 0

    def describe(self, export: Export, folder: Path) -> None:
        model = export.model
        text = text_model(export).config.to_dict()
        vision = vision_config(export)
        dropped = vision.model_type.startswith("siglip")
        layers = used_layers(export) + 1 if dropped else vision.num_hidden_layers
        config = {
            "architectures": ["LlavaQwenForCausalLM"],
            "model_type": "llava_qwen",
            **{key: text[key] for key in LLM_KEYS if key in text},
            "rope_theta": text["rope_parameters"]["rope_theta"],
            "vision_config": {**_shape(vision), "num_hidden_layers": layers},
            "mm_vision_tower": _tower_name(vision, layers),
            "mm_hidden_size": vision.hidden_size,
            "mm_vision_select_layer": -2 if dropped else used_layers(export) - layers - 1,
            "mm_vision_select_feature": export.parts["vision_encoder"].get("feature", "patch"),
            "mm_projector_type": _projector_type(export.parts["projector"]),
            "mm_resampler_type": None,
            "use_mm_proj": True,
            "mm_use_im_start_end": False,
            "mm_use_im_patch_token": False,
            "tokenizer_padding_side": "right",
            "tokenizer_model_max_length": text["max_position_embeddings"],
            **settings(export.parts["modality"]),
        }
        (folder / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
        model.llm.tokenizer.save(folder)


def _rope(config: Mapping[str, Any]) -> dict[str, Any]:
    scaling = config.get("rope_scaling") or {"rope_type": "default"}
    given = config.get("rope_parameters") or {"rope_theta": config.get("rope_theta", 10000.0), **scaling}
    return dict(given)


def _vision(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """SigLIP drops its last layer whatever ``mm_vision_select_layer`` says; CLIP goes by it."""
    name = str(config.get("mm_vision_tower", ""))
    shape = config.get("vision_config") or TOWERS.get(name)
    if shape is None:
        shape = _shape(_described(folder, name))
    kind = "clip" if "clip" in f"{shape.get('model_type', '')} {name}".lower().replace("siglip", "") else "siglip"
    node: dict[str, Any] = {"name": kind, "config": dict(shape)}
    if kind == "siglip":
        return {**node, "select_layer": -2}
    feature = config.get("mm_vision_select_feature", "patch")
    return {**node, "select_layer": config.get("mm_vision_select_layer", -2), "feature": feature}


def _described(folder: Path, name: str) -> Any:
    try:
        described = AutoConfig.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{folder / 'config.json'} names the vision tower {name!r} without describing it, and its config cannot be "
            f"read: {str(error).splitlines()[0]} Known: {', '.join(TOWERS)}; else add vision_config to the file"
        ) from None
    return getattr(described, "vision_config", described)


def _shape(vision: Any) -> dict[str, Any]:
    """What the weights' shapes and the numbers of heads follow from, and the kind of tower."""
    keys = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "image_size", "patch_size",
            "model_type")  # fmt: skip
    return {key: getattr(vision, key) for key in keys}


def _projector(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    kind = str(config.get("mm_projector_type", "linear"))
    found = re.fullmatch(r"mlp(\d+)x_gelu", kind)
    known(folder, "mm_projector_type", "mlpNx_gelu" if found else kind, ("linear", "mlpNx_gelu"))
    known(folder, "mm_resampler_type", config.get("mm_resampler_type"), (None, "spatial_pool"))
    return {"name": "mlp", "depth": int(found[1])} if found else {"name": "linear"}


def modalities(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """The adapters whose geometry the config describes; see docs/models.md."""
    ratio = str(config.get("image_aspect_ratio", "square"))
    merge = known(folder, "mm_patch_merge_type", config.get("mm_patch_merge_type", "flat"), MERGES)
    unpad, fit = merge == "spatial_unpad", "pad" if ratio == "pad" else "square"
    most = re.fullmatch(r"anyres_max_(\d+)", ratio)
    known(folder, "image_aspect_ratio", "anyres_max_K" if most else ratio, ("square", "pad", "anyres", "anyres_max_K"))
    position = known(folder, "mm_newline_position", config.get("mm_newline_position", "one_token"), tuple(NEWLINES))
    mode = known(folder, "mm_spatial_pool_mode", config.get("mm_spatial_pool_mode", "bilinear"), POOLS)
    newline = NEWLINES[position] if unpad else "none"
    pool = {"pool": mode, "stride": config.get("mm_spatial_pool_stride") or 1, "newline": newline}
    return {
        "image": {"name": "image", "fit": fit, "newline": unpad},
        "multipatch": {
            "name": "multipatch",
            "pinpoints": _pinpoints(config.get("image_grid_pinpoints")) if "anyres" in ratio else [],
            "max_tiles": int(most[1]) if most and unpad else None,
            "merge": merge,
            "fit": fit,
        },
        "video": {"name": "video", **pool},
        "scene3d": {"name": "scene3d", "newline": "frame" if unpad else "none", "fit": fit},
    }


def _pinpoints(value: Any) -> Any:
    """Published configs hold a list of (width, height), the same as text, or a range in tiles."""
    if isinstance(value, str) and not re.search(r"\dx\d", value):
        value = ast.literal_eval(value)
    return value if isinstance(value, str) else [list(pair) for pair in value or []]


def settings(kinds: Mapping[str, Any]) -> dict[str, Any]:
    """The reverse of ``modalities``."""
    image, tiles = kinds.get("image", {}), kinds.get("multipatch", {})
    video = kinds.get("video", {})
    unpad = image.get("newline", False) or (tiles.get("merge") == "spatial_unpad" and bool(tiles.get("pinpoints")))
    found: dict[str, Any] = {"mm_patch_merge_type": "spatial_unpad" if unpad else tiles.get("merge", "flat")}
    found["image_aspect_ratio"] = next(iter(picture_fits(kinds)), "square")
    if tiles.get("pinpoints"):
        most = tiles.get("max_tiles")
        found["image_aspect_ratio"] = f"anyres_max_{most}" if most else "anyres"
        found["image_grid_pinpoints"] = tiles["pinpoints"]
    if video.get("stride", 1) > 1:
        found |= {"mm_spatial_pool_stride": video["stride"], "mm_spatial_pool_mode": video["pool"]}
    if unpad:
        found["mm_newline_position"] = {v: k for k, v in NEWLINES.items()}[video.get("newline", "none")]
    return found


def _projector_type(node: Mapping[str, Any]) -> str:
    return "linear" if node["name"] == "linear" else f"mlp{node.get('depth', 2)}x_gelu"


def _tower_name(vision: Any, layers: int) -> str:
    shape = {**_shape(vision), "num_hidden_layers": layers}
    known = [name for name, tower in TOWERS.items() if all(shape[k] == v for k, v in tower.items())]
    return known[0] if known else vision.model_type.removesuffix("_vision_model")
