"""The layout of the authors' own code: ``LlavaQwenForCausalLM``."""

import json
from collections.abc import Sequence
from pathlib import Path

from ..core.options import Config
from .layout import Export, Parts
from .limits import as_published, camera_refusals, fit_refusals, without_cameras
from .llava_original_read import projector, read_modalities, rope_parameters, vision_encoder
from .llava_original_write import LLM_KEYS, description
from .tensor_files import TensorSpec
from .tensor_names import NameTable

VISION = "model.vision_tower.vision_tower.vision_model."


class Original:
    """``config.json`` with ``mm_*`` keys; the names of the vision tower lie inside those of the language model."""

    name = "original"
    names = NameTable(
        written=[
            (f"{VISION}encoder.layers.", "vision_encoder.layers."),
            (VISION, "vision_encoder."),
            ("model.mm_projector.", "projector."),
            ("model.image_newline", "llm.newline"),
            ("", "llm.model."),  # all other names are the language model's own
        ],
        # Parts that the authors' code can have and this program has not; they are no names of the language model.
        refused=["model.vision_tower.", "model.vision_resampler."],
    )
    """Weights of a modality have no row: the layout leaves them out."""

    def recognises(self, folder: Path, config: Config) -> bool:
        return bool(config.get("model_type") == "llava_qwen")

    def parts(self, folder: Path, config: Config) -> Parts:
        # what the file leaves out stays at the default of Qwen2
        llm = {key: config[key] for key in LLM_KEYS if key in config}
        llm["rope_parameters"] = rope_parameters(config)
        cuts_tiles = "anyres" in str(config.get("image_aspect_ratio"))
        return {
            "vision_encoder": vision_encoder(folder, config),
            "projector": projector(folder, config),
            "llm": {"name": "qwen2", "config": llm, "tokenizer": str(folder)},
            "modality": as_published(read_modalities(folder, config)),
            "single_picture": "multipatch" if cuts_tiles else "image",
        }

    def to_native(self, name: str) -> str | None:
        return self.names.to_native(name)

    def from_native(self, name: str, used: bool) -> str | None:
        return self.names.from_native(name)

    def refusals(self, export: Export) -> dict[str, str]:
        nodes = export.modalities
        reasons = fit_refusals(nodes)
        reasons |= self._part_refusals(export)
        image, video, scene = (nodes.get(kind, {}) for kind in ("image", "video", "scene3d"))
        # (newline, stride) of a view that is shown as a picture is
        as_picture = ("frame" if image.get("newline") else "none", 1)
        if scene and (scene.get("newline", "none"), scene.get("stride", 1)) != as_picture:
            reasons["scene3d"] = "its views are pictures, and the two differ in newline or pooling"
        if video.get("times"):
            reasons["times"] = "it writes no time before a frame"
        return reasons | camera_refusals(nodes)

    def _part_refusals(self, export: Export) -> dict[str, str]:
        """Vision encoders, projectors and language models that the authors' code does not know."""
        parts, reasons = export.parts, {}
        if export.vision_model_type not in ("siglip_vision_model", "clip_vision_model"):
            reasons["vision_encoder"] = f"it knows SigLIP and CLIP towers, not {parts['vision_encoder']['name']}"
        projector_name = parts["projector"]["name"]
        if projector_name not in ("mlp", "linear"):
            reasons["projector"] = f"it is written here with mlp and linear projectors, not {projector_name}"
        if export.text_model_type != "qwen2":
            reasons["llm"] = f"it holds Qwen2 models, not {parts['llm']['name']}"
            return reasons
        user_turn = export.model.llm.tokenizer.open("user")
        if not user_turn.startswith("<|im_start|>"):
            reasons["llm"] = f"it speaks ChatML, and the turns of this model are {user_turn}..."
        return reasons

    def without(self, parts: Parts, drop: Sequence[str]) -> Parts:
        """``fit`` becomes the pictures' everywhere, and ``scene3d`` shows views as pictures are shown."""
        nodes = {kind: dict(node) for kind, node in parts["modality"].items()}  # copies, which are changed below
        image = nodes.get("image", {})
        if "fit" in drop:
            fit = image.get("fit", "square")
            for kind, node in nodes.items():
                node["fit"] = "square" if kind == "video" else fit
        if "times" in drop:
            nodes["video"]["times"] = False
        if "scene3d" in nodes:
            nodes["scene3d"] = dict(without_cameras(nodes["scene3d"], drop))
        if "scene3d" in drop:
            nodes["scene3d"] |= {"newline": "frame" if image.get("newline") else "none", "stride": 1}
        return {**parts, "modality": nodes}

    def added_tensors(self, export: Export) -> dict[str, TensorSpec]:
        return {}

    def vocabulary_rows(self, export: Export) -> int:
        return 0

    def write_description(self, export: Export, folder: Path) -> None:
        text = json.dumps(description(export), indent=1)
        (folder / "config.json").write_text(text, encoding="utf-8")
        export.model.llm.tokenizer.save(folder)
