"""The layout of Transformers' ``LlavaOnevisionForConditionalGeneration``."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import (
    LlavaOnevisionConfig,
    LlavaOnevisionImageProcessorPil,
    LlavaOnevisionProcessor,
    LlavaOnevisionVideoProcessor,
)

from .layout import Export, Parts, known, unposed
from .llava_hf import IMAGE, KINDS, Llava, pixels, strategy, unfit_parts

VIDEO = "<video>"
VIDEOS = {"pool": "bilinear", "stride": 2, "newline": "one_token", "fit": "square"}
DEFAULTS = {"pool": "average", "stride": 1, "newline": "none", "fit": "square"}
"""Of the video adapter, and what llava_onevision does with videos above."""


class LlavaOnevision(Llava):
    """Pictures with a newline, tiles for a single one, and videos whose frames are pooled by two."""

    name = "llava-onevision"
    model_type = "llava_onevision"
    config_class: Any = LlavaOnevisionConfig
    marks = (IMAGE, VIDEO)
    single_picture = "multipatch"

    def modalities(self, folder: Path, described: Any) -> dict[str, Any]:
        most = re.fullmatch(r"anyres_max_(\d+)", described.vision_aspect_ratio)
        known(
            folder, "vision_aspect_ratio", "anyres_max_K" if most else described.vision_aspect_ratio, ("anyres_max_K",)
        )
        assert most
        return {
            "image": {"name": "image", "fit": "pad", "newline": True},
            "multipatch": {
                "name": "multipatch",
                "pinpoints": [[width, height] for height, width in described.image_grid_pinpoints],
                "max_tiles": int(most[1]),
                "merge": "spatial_unpad",
            },
            "video": {"name": "video", **VIDEOS},
            "scene3d": {"name": "scene3d", "fit": "pad", "newline": "frame"},
        }

    def without(self, parts: Parts, drop: Sequence[str]) -> Parts:
        kinds = {**parts["modality"]}
        if "fit" in drop or "newline" in drop:
            kinds["image"] = {**kinds["image"], "fit": "pad", "newline": True}
        tiles = kinds.pop("multipatch", None)
        if tiles and "multipatch" not in drop:
            kinds["multipatch"] = tiles
        if "video" in drop or "times" in drop:
            kinds["video"] = {**kinds["video"], **VIDEOS, "times": False}
        if "scene3d" in drop:
            kinds["scene3d"] = {**kinds["scene3d"], "fit": "pad", "newline": "frame", "stride": 1}
        if "scene3d" in kinds:
            kinds["scene3d"] = unposed(kinds["scene3d"], drop)
        return {**parts, "modality": {k: v for k, v in kinds.items() if k in KINDS}}

    def from_native(self, name: str, used: bool) -> str | None:
        return "image_newline" if name == "llm.newline" else super().from_native(name, used)

    def refuses(self, export: Export) -> dict[str, str]:
        kinds = export.parts["modality"]
        found = unfit_parts(export)
        image, tiles, video, scene = (kinds.get(k, {}) for k in ("image", "multipatch", "video", "scene3d"))
        if image and not image.get("newline"):
            found["newline"] = "it ends every picture with image_newline"
        if image and image.get("fit", "square") != "pad":
            found["fit"] = "it pads the pictures of a multi-image prompt to squares"
        if tiles and not (tiles.get("pinpoints") and tiles.get("merge", "spatial_unpad") == "spatial_unpad"):
            found["multipatch"] = "it cuts every single picture into tiles, un-padded, with a newline after each row"
        if video and any(video.get(k, d) != VIDEOS[k] for k, d in DEFAULTS.items()):
            found["video"] = "it pools frames by two, bilinearly, and ends a video with one newline"
        if scene and (scene.get("stride", 1), scene.get("newline", "none")) != (1, "frame"):
            found["scene3d"] = "its views are pictures, each with a newline"
        return found

    def settings(self, export: Export, tokenizer: Any) -> dict[str, Any]:
        tiles, size = export.parts["modality"].get("multipatch", {}), export.model.vision_encoder.spec.size
        pinpoints = _pinpoints(tiles.get("pinpoints") or [[size, size]], size)
        most = tiles.get("max_tiles") or max(w * h for h, w in pinpoints) // size**2
        return {
            "video_token_index": tokenizer.convert_tokens_to_ids(VIDEO),
            "image_grid_pinpoints": pinpoints,
            "vision_aspect_ratio": f"anyres_max_{most}",
        }

    def processor(self, export: Export, tokenizer: Any, chat_template: str) -> Any:
        spec, settings = export.model.vision_encoder.spec, self.settings(export, tokenizer)
        return LlavaOnevisionProcessor(
            image_processor=LlavaOnevisionImageProcessorPil(
                **pixels(spec), image_grid_pinpoints=settings["image_grid_pinpoints"]
            ),
            tokenizer=tokenizer,
            video_processor=LlavaOnevisionVideoProcessor(**pixels(spec)),
            num_image_tokens=spec.grid**2,
            vision_feature_select_strategy=strategy(export),
            chat_template=chat_template,
            vision_aspect_ratio=settings["vision_aspect_ratio"],
        )


def _pinpoints(value: Any, size: int) -> list[list[int]]:
    """(width, height) pairs or a range in tiles -> (height, width) pairs, as Transformers wants them."""
    if isinstance(value, str):
        first, *_, last = [(int(a), int(b)) for a, b in re.findall(r"\((\d+)x(\d+)\)", value)] * 2
        value = [(i * size, j * size) for i in range(first[0], last[0] + 1) for j in range(first[1], last[1] + 1)]
    return [[int(height), int(width)] for width, height in value]
