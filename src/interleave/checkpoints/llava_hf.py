"""The layout of Transformers' ``LlavaForConditionalGeneration``, and what ``llava_onevision`` shares with it."""

from collections.abc import Sequence
from pathlib import Path

from transformers import LlavaConfig, LlavaOnevisionConfig, PreTrainedTokenizerBase, ProcessorMixin

from ..core.options import Config
from .layout import Export, Parts
from .limits import NO_CAMERAS, as_published, camera_refusals, fit_refusals
from .llava_hf_read import VISION_ENCODERS, described_config, model_parts, pads_pictures
from .llava_hf_write import IMAGE, llava_processor, write_model_description
from .tensor_files import TensorSpec
from .tensor_names import NameTable

WRITTEN_NAMES = (
    ("vision_tower.vision_model.encoder.layers.", "vision_encoder.layers."),
    ("vision_tower.vision_model.", "vision_encoder."),
    ("multi_modal_projector.linear_1.", "projector.0."),
    ("multi_modal_projector.linear_2.", "projector.2."),
    ("language_model.", "llm.model."),
)
"""Names as Transformers 4.43 writes them and every later version reads them."""
NEWER_NAMES = (
    # Transformers 4.52: everything but the head lies in ``model.``
    ("model.vision_tower.vision_model.encoder.layers.", "vision_encoder.layers."),
    ("model.vision_tower.vision_model.", "vision_encoder."),
    ("model.multi_modal_projector.linear_1.", "projector.0."),
    ("model.multi_modal_projector.linear_2.", "projector.2."),
    ("model.language_model.", "llm.model.model."),
    ("lm_head.", "llm.model.lm_head."),
    # Transformers 5: towers have no ``vision_model.``
    ("vision_tower.encoder.layers.", "vision_encoder.layers."),
    ("vision_tower.", "vision_encoder."),
    ("model.vision_tower.encoder.layers.", "vision_encoder.layers."),
    ("model.vision_tower.", "vision_encoder."),
    ("model.image_newline", "llm.newline"),
)
"""Other spellings of the same tensors, which are read and never written."""
NEWLINE_NAME = ("image_newline", "llm.newline")
"""The separator, which ``llava_onevision`` holds and ``llava`` does not."""
KINDS = ("image", "multipatch", "video", "scene3d")
"""Modalities whose views the two layouts can show."""


class Llava:
    """Every picture is one view. There is no newline, no tiling and no pooling, and frames of a video are pictures."""

    name = "llava"
    model_type = "llava"
    config_class: type[LlavaConfig | LlavaOnevisionConfig] = LlavaConfig
    marks: Sequence[str] = (IMAGE,)
    """Tokens that stand for a feature in the text."""
    single_picture = "image"
    """The modality that shows a picture which is the only one of its prompt."""
    # A newline in a file is read, as the model has a place for it, but this layout is never written with one.
    names = NameTable(WRITTEN_NAMES, read_only=(*NEWER_NAMES, NEWLINE_NAME))

    def recognises(self, folder: Path, config: Config) -> bool:
        return bool(config.get("model_type") == self.model_type)

    def parts(self, folder: Path, config: Config) -> Parts:
        described = described_config(folder, config, self.config_class)
        return {
            **model_parts(folder, described),
            "modality": as_published(self.modalities(folder, described)),
            "single_picture": self.single_picture,
        }

    def modalities(self, folder: Path, described: LlavaConfig | LlavaOnevisionConfig) -> dict[str, Config]:
        """The config nodes of the modalities by kind. Raises InputError for a geometry that the program lacks."""
        return single_view_modalities("pad" if pads_pictures(folder) else "square")

    def to_native(self, name: str) -> str | None:
        return self.names.to_native(name)

    def from_native(self, name: str, used: bool) -> str | None:
        return self.names.from_native(name)

    def refusals(self, export: Export) -> dict[str, str]:
        modalities = export.modalities
        reasons = part_refusals(export)
        tiles = modalities.get("multipatch", {})
        # a video's newline is a word such as "frame", a picture's true or false
        has_newline = any(node.get("newline", False) not in (False, "none") for node in modalities.values())
        if has_newline or tiles.get("merge") == "spatial_unpad":
            reasons["newline"] = "it has no image_newline"
        if tiles.get("pinpoints"):
            reasons["multipatch"] = "it shows a picture as one view, without tiles"
        for kind in ("video", "scene3d"):
            if modalities.get(kind, {}).get("stride", 1) > 1:
                reasons[kind] = "it does not pool the tokens of a view"
        return reasons | fit_refusals(modalities)

    def without(self, parts: Parts, drop: Sequence[str]) -> Parts:
        """Whatever is dropped, all modalities become those of the layout, which keep only the pictures' ``fit``."""
        nodes = parts["modality"]
        fit = nodes.get("image", {}).get("fit", "square")
        held = single_view_modalities(fit)
        return {**parts, "modality": {kind: {**node, **held[kind]} for kind, node in nodes.items() if kind in held}}

    def vocabulary_rows(self, export: Export) -> int:
        """``<image>`` and ``<video>``, which stand for a feature, need a row each behind those of the tokenizer."""
        # (rows, D): published embeddings often have spare rows already
        stored = export.specs["llm.model.model.embed_tokens.weight"].shape[0]
        # newline_id is the first id behind those of the tokenizer
        needed = int(export.model.llm.tokenizer.newline_id) + len(self.marks)
        return max(stored, needed)

    def added_tensors(self, export: Export) -> dict[str, TensorSpec]:
        """The vision tower's last norm: Transformers runs it, though nothing reads what it makes."""
        dtype = next(iter(export.specs.values())).dtype
        spec = TensorSpec((export.model.vision_encoder.dim,), dtype)  # one number a feature
        added: dict[str, TensorSpec] = {}
        for kind in ("weight", "bias"):
            native = f"vision_encoder.post_layernorm.{kind}"
            if native not in export.specs:
                added[str(self.from_native(native, used=True))] = spec
        return added

    def write_description(self, export: Export, folder: Path) -> None:
        write_model_description(export, folder, self, self.vocabulary_rows(export))

    def settings(self, export: Export, tokenizer: PreTrainedTokenizerBase) -> Config:
        """Options of ``config_class`` for the layout's own geometry."""
        return {"image_seq_length": export.model.vision_encoder.spec.tokens}

    def processor(self, export: Export, tokenizer: PreTrainedTokenizerBase, chat_template: str) -> ProcessorMixin:
        """What turns messages and pictures into the inputs of Transformers' model."""
        return llava_processor(export, tokenizer, chat_template)


def single_view_modalities(fit: str) -> dict[str, Config]:
    """The config nodes of modalities that show single views alone. fit: ``square`` or ``pad``, for pictures."""
    views = {"stride": 1, "newline": "none"}
    return {
        "image": {"name": "image", "newline": False, "fit": fit},
        "multipatch": {"name": "multipatch", "pinpoints": [], "merge": "flat", "fit": fit},
        "video": {"name": "video", **views, "times": False, "fit": "square"},
        "scene3d": {"name": "scene3d", **views, **NO_CAMERAS, "fit": fit},
    }


def part_refusals(export: Export) -> dict[str, str]:
    """Parts and options that neither ``llava`` nor ``llava_onevision`` can hold, and why."""
    parts, modalities = export.parts, export.modalities
    reasons = camera_refusals(modalities)
    if export.vision_model_type not in VISION_ENCODERS:
        name = parts["vision_encoder"]["name"]
        reasons["vision_encoder"] = f"it is written with SigLIP and CLIP towers, not {name}"
    if parts["projector"]["name"] != "mlp" or parts["projector"].get("depth", 2) != 2:
        reasons["projector"] = f"it holds an mlp of depth 2, not {parts['projector']}"
    if export.text_model_type is None:
        reasons["llm"] = f"it holds language models of Transformers, not {parts['llm']['name']}"
    if modalities.get("video", {}).get("times"):
        reasons["times"] = "it writes no time before a frame"
    for kind in sorted(modalities.keys() - set(KINDS)):
        reasons[kind] = f"it has no modality {kind}"
    return reasons
