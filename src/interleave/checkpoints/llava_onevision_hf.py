"""The layout of Transformers' ``LlavaOnevisionForConditionalGeneration``."""

import re
from collections.abc import Sequence
from pathlib import Path

from transformers import (
    LlavaConfig,
    LlavaOnevisionConfig,
    LlavaOnevisionImageProcessorPil,
    LlavaOnevisionProcessor,
    LlavaOnevisionVideoProcessor,
    PreTrainedTokenizerBase,
    ProcessorMixin,
)

from ..core.options import Config
from .layout import Export, Parts, require_supported
from .limits import without_cameras
from .llava_hf import KINDS, NEWER_NAMES, NEWLINE_NAME, WRITTEN_NAMES, Llava, part_refusals
from .llava_hf_write import IMAGE, feature_select_strategy, pixel_settings
from .tensor_names import NameTable

VIDEO = "<video>"
HELD_VIDEO = {"pool": "bilinear", "stride": 2, "newline": "one_token", "fit": "square"}
"""The only options of the video modality that the layout can hold."""
DEFAULT_VIDEO = {"pool": "average", "stride": 1, "newline": "none", "fit": "square"}
"""What the video modality does where its node leaves these options out."""


class LlavaOnevision(Llava):
    """A picture ends with a newline, a single one is cut into tiles, and the frames of a video are pooled by two."""

    name = "llava-onevision"
    model_type = "llava_onevision"
    config_class: type[LlavaConfig | LlavaOnevisionConfig] = LlavaOnevisionConfig
    marks = (IMAGE, VIDEO)
    single_picture = "multipatch"
    names = NameTable((*WRITTEN_NAMES, NEWLINE_NAME), read_only=NEWER_NAMES)

    def modalities(self, folder: Path, described: LlavaConfig | LlavaOnevisionConfig) -> dict[str, Config]:
        assert isinstance(described, LlavaOnevisionConfig)
        ratio = described.vision_aspect_ratio
        match = re.fullmatch(r"anyres_max_(\d+)", ratio)
        require_supported(folder, "vision_aspect_ratio", "anyres_max_K" if match else ratio, ("anyres_max_K",))
        assert match
        heights_first = described.image_grid_pinpoints
        assert heights_first is not None
        return {
            "image": {"name": "image", "fit": "pad", "newline": True},
            "multipatch": {
                "name": "multipatch",
                # (width, height) in pixels, as the authors' code has them; Transformers turns them round
                "pinpoints": [[width, height] for height, width in heights_first],
                "max_tiles": int(match[1]),
                "merge": "spatial_unpad",
            },
            "video": {"name": "video", **HELD_VIDEO},
            "scene3d": {"name": "scene3d", "fit": "pad", "newline": "frame"},
        }

    def refusals(self, export: Export) -> dict[str, str]:
        modalities = export.modalities
        reasons = part_refusals(export)
        image = modalities.get("image", {})
        if image and not image.get("newline"):
            reasons["newline"] = "it ends every picture with image_newline"
        if image and image.get("fit", "square") != "pad":
            reasons["fit"] = "it pads the pictures of a multi-image prompt to squares"
        tiles = modalities.get("multipatch", {})
        unpads_tiles = tiles.get("pinpoints") and tiles.get("merge", "spatial_unpad") == "spatial_unpad"
        if tiles and not unpads_tiles:
            reasons["multipatch"] = "it cuts every single picture into tiles, un-padded, with a newline after each row"
        video = modalities.get("video", {})
        chosen_video = {option: video.get(option, default) for option, default in DEFAULT_VIDEO.items()}
        if video and chosen_video != HELD_VIDEO:
            reasons["video"] = "it pools frames by two, bilinearly, and ends a video with one newline"
        scene = modalities.get("scene3d", {})
        if scene and (scene.get("stride", 1), scene.get("newline", "none")) != (1, "frame"):
            reasons["scene3d"] = "its views are pictures, each with a newline"
        return reasons

    def without(self, parts: Parts, drop: Sequence[str]) -> Parts:
        """A feature that is dropped takes the only form that the layout has for it; tiles and unknown kinds go."""
        nodes: dict[str, Config] = dict(parts["modality"])
        if "fit" in drop or "newline" in drop:
            nodes["image"] = {**nodes["image"], "fit": "pad", "newline": True}
        # no form of the layout for tiles that it cannot hold: the modality itself goes
        tiles = nodes.pop("multipatch", None)
        if tiles and "multipatch" not in drop:
            nodes["multipatch"] = tiles
        if "video" in drop or "times" in drop:
            nodes["video"] = {**nodes["video"], **HELD_VIDEO, "times": False}
        if "scene3d" in drop:
            nodes["scene3d"] = {**nodes["scene3d"], "fit": "pad", "newline": "frame", "stride": 1}
        if "scene3d" in nodes:
            nodes["scene3d"] = without_cameras(nodes["scene3d"], drop)
        return {**parts, "modality": {kind: node for kind, node in nodes.items() if kind in KINDS}}

    def settings(self, export: Export, tokenizer: PreTrainedTokenizerBase) -> Config:
        tiles = export.modalities.get("multipatch", {})
        size = export.model.vision_encoder.spec.size
        pinpoints = _pinpoints(tiles.get("pinpoints") or [[size, size]], size)
        # without a limit of its own, as many tiles as the largest pinpoint has: its area / size^2
        largest_area = max(height * width for height, width in pinpoints)
        max_tiles = tiles.get("max_tiles") or largest_area // size**2
        return {
            "video_token_index": tokenizer.convert_tokens_to_ids(VIDEO),
            "image_grid_pinpoints": pinpoints,
            "vision_aspect_ratio": f"anyres_max_{max_tiles}",
        }

    def processor(self, export: Export, tokenizer: PreTrainedTokenizerBase, chat_template: str) -> ProcessorMixin:
        spec, settings = export.model.vision_encoder.spec, self.settings(export, tokenizer)
        return LlavaOnevisionProcessor(
            image_processor=LlavaOnevisionImageProcessorPil(
                **pixel_settings(spec), image_grid_pinpoints=settings["image_grid_pinpoints"]
            ),
            tokenizer=tokenizer,
            video_processor=LlavaOnevisionVideoProcessor(**pixel_settings(spec)),
            num_image_tokens=spec.grid**2,  # of one view, before newlines
            vision_feature_select_strategy=feature_select_strategy(export),
            chat_template=chat_template,
            vision_aspect_ratio=settings["vision_aspect_ratio"],
        )


def _pinpoints(value: str | Sequence[Sequence[int]], size: int) -> list[list[int]]:
    """Sizes of tiled pictures as Transformers wants them, (height, width) in pixels.

    value: (width, height) pairs in pixels, or a range in tiles as text, such as ``(1x1),...,(6x6)``.
    size: side of a tile in pixels.
    """
    if not isinstance(value, str):
        return [[int(height), int(width)] for width, height in value]
    corners = [(int(columns), int(rows)) for columns, rows in re.findall(r"\((\d+)x(\d+)\)", value)]
    smallest, largest = corners[0], corners[-1]  # (columns, rows), both ends included
    pairs = []
    for columns in range(smallest[0], largest[0] + 1):
        for rows in range(smallest[1], largest[1] + 1):
            pairs.append([rows * size, columns * size])
    return pairs
