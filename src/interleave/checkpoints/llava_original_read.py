"""From the authors' ``config.json`` with its ``mm_*`` keys to config nodes; ``llava_original_write`` is the reverse."""

import ast
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from transformers import AutoConfig, PretrainedConfig

from ..core.errors import InputError
from ..core.options import Config
from .layout import require_supported

TOWER_SHAPES: Mapping[str, Mapping[str, int]] = {
    "google/siglip-so400m-patch14-384": {
        "hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27, "num_attention_heads": 16,
        "image_size": 384, "patch_size": 14,
    },
}  # fmt: skip
"""Vision towers that published configs name without describing them."""
SHAPE_KEYS = (
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "image_size", "patch_size",
    "model_type",
)  # fmt: skip
"""Options of a tower from which the shapes of its weights and its computation follow."""
POOL_MODES = ("average", "max", "bilinear")
MERGE_TYPES = ("flat", "spatial", "spatial_unpad")
NEWLINES = {"one_token": "one_token", "frame": "frame", "grid": "grid", "no_token": "none"}
"""``mm_newline_position`` -> the video modality's ``newline``."""


def rope_parameters(config: Config) -> dict[str, object]:
    """Base and scaling of the rotary positions, in the form of Transformers 5."""
    scaling = config.get("rope_scaling") or {"rope_type": "default"}
    old_form = {"rope_theta": config.get("rope_theta", 10000.0), **scaling}
    return dict(config.get("rope_parameters") or old_form)


def vision_encoder(folder: Path, config: Config) -> dict[str, object]:
    """The vision encoder's node. Raises InputError for a tower that is named and nowhere described.

    The authors' code always drops SigLIP's last layer, whatever ``mm_vision_select_layer`` says; CLIP goes by it.
    """
    tower_name = str(config.get("mm_vision_tower", ""))
    shape = config.get("vision_config") or TOWER_SHAPES.get(tower_name)
    if shape is None:
        shape = tower_shape(_fetched_config(folder, tower_name))
    # "siglip" contains "clip", so it is taken out first
    words = f"{shape.get('model_type', '')} {tower_name}".lower().replace("siglip", "")
    kind = "clip" if "clip" in words else "siglip"
    node: dict[str, object] = {"name": kind, "config": dict(shape)}
    if kind == "siglip":
        return {**node, "select_layer": -2}
    feature = config.get("mm_vision_select_feature", "patch")
    return {**node, "select_layer": config.get("mm_vision_select_layer", -2), "feature": feature}


def _fetched_config(folder: Path, tower_name: str) -> PretrainedConfig:
    """The vision tower's config, from the hub or a folder."""
    try:
        described = AutoConfig.from_pretrained(tower_name)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{folder / 'config.json'} names the vision tower {tower_name!r} without describing it, and its config "
            f"cannot be read: {str(error).splitlines()[0]} Known: {', '.join(TOWER_SHAPES)}; "
            "else add vision_config to the file"
        ) from None
    vision_config: PretrainedConfig = getattr(described, "vision_config", described)  # of a model with text beside it
    return vision_config


def tower_shape(vision: PretrainedConfig) -> dict[str, object]:
    """What the authors' ``vision_config`` says of a vision tower."""
    return {key: getattr(vision, key) for key in SHAPE_KEYS}


def projector(folder: Path, config: Config) -> dict[str, object]:
    """The projector's node. Raises InputError for a type that the program has no part for."""
    kind = str(config.get("mm_projector_type", "linear"))
    match = re.fullmatch(r"mlp(\d+)x_gelu", kind)
    require_supported(folder, "mm_projector_type", "mlpNx_gelu" if match else kind, ("linear", "mlpNx_gelu"))
    # spatial_pool is the stride of the video modality; any other resampler would be a part of its own
    require_supported(folder, "mm_resampler_type", config.get("mm_resampler_type"), (None, "spatial_pool"))
    return {"name": "mlp", "depth": int(match[1])} if match else {"name": "linear"}


def read_modalities(folder: Path, config: Config) -> dict[str, dict[str, object]]:
    """The nodes of the modalities whose geometry the config describes, as docs/models.md lists it.

    Raises InputError for a setting that no modality has.
    """
    merge = require_supported(folder, "mm_patch_merge_type", config.get("mm_patch_merge_type", "flat"), MERGE_TYPES)
    ratio = str(config.get("image_aspect_ratio", "square"))
    max_tiles = re.fullmatch(r"anyres_max_(\d+)", ratio)
    ratio_form = "anyres_max_K" if max_tiles else ratio
    require_supported(folder, "image_aspect_ratio", ratio_form, ("square", "pad", "anyres", "anyres_max_K"))
    newline_position = config.get("mm_newline_position", "one_token")
    require_supported(folder, "mm_newline_position", newline_position, tuple(NEWLINES))
    # refused even where the stride is 1 and nothing is pooled
    pool = require_supported(folder, "mm_spatial_pool_mode", config.get("mm_spatial_pool_mode", "bilinear"), POOL_MODES)
    has_newline = merge == "spatial_unpad"  # the only merge that writes the separator
    fit = "pad" if ratio == "pad" else "square"
    return {
        "image": {"name": "image", "fit": fit, "newline": has_newline},
        "multipatch": {
            "name": "multipatch",
            "pinpoints": _pinpoints(config.get("image_grid_pinpoints")) if "anyres" in ratio else [],
            # the authors' code asks for the limit only where it un-pads
            "max_tiles": int(max_tiles[1]) if max_tiles and has_newline else None,
            "merge": merge,
            "fit": fit,
        },
        "video": {
            "name": "video",
            "pool": pool,
            "stride": config.get("mm_spatial_pool_stride") or 1,
            "newline": NEWLINES[newline_position] if has_newline else "none",
        },
        "scene3d": {"name": "scene3d", "newline": "frame" if has_newline else "none", "fit": fit},
    }


def _pinpoints(value: str | Sequence[Sequence[int]] | None) -> str | list[list[int]]:
    """Sizes of tiled pictures, as the ``multipatch`` modality takes them.

    value: (width, height) pairs in pixels as a list, the same list as text, or a range in tiles such as
    ``(1x1),...,(6x6)``, which stays text.
    """
    if isinstance(value, str):
        # a digit, an x, a digit: a list in pixels has commas between its numbers
        is_range = re.search(r"\dx\d", value)
        if is_range:
            return value
        value = ast.literal_eval(value)
    if isinstance(value, str):
        return value
    return [list(pair) for pair in value or []]
