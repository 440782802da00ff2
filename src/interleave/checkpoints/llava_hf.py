"""The layout of Transformers' ``LlavaForConditionalGeneration``, and what ``llava_onevision`` shares with it."""

import copy
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers import (
    GenerationConfig,
    LlavaConfig,
    LlavaImageProcessorPil,
    LlavaProcessor,
    PretrainedConfig,
    SiglipImageProcessorPil,
)

from ..core.errors import InputError
from .hf_chat_template import template
from .layout import (
    PLAIN,
    Export,
    Parts,
    known,
    misfits,
    picture_fits,
    posed,
    text_model,
    text_type,
    tower,
    used_layers,
    vision_config,
)
from .tensor_files import Shape

IMAGE = "<image>"
PREFIXES = (
    (r"^(model\.)?vision_tower\.(vision_model\.)?(encoder\.(?=layers\.))?", "vision_encoder."),
    (r"^(model\.)?multi_modal_projector\.linear_1\.", "projector.0."),
    (r"^(model\.)?multi_modal_projector\.linear_2\.", "projector.2."),
    (r"^(model\.)?image_newline$", "llm.newline"),
    (r"^(language_model\.)?lm_head\.", "llm.model.lm_head."),
    (r"^language_model\.model\.", "llm.model.model."),
    (r"^model\.language_model\.", "llm.model.model."),
)
"""Prefixes as Transformers 4.43, 4.52 and 5 write them."""
ENCODERS = {"siglip_vision_model": "siglip", "clip_vision_model": "clip"}
KINDS = ("image", "multipatch", "video", "scene3d")
NOT_SHAPE = set(PretrainedConfig().to_dict()) | {"use_cache"}
"""What every config of Transformers holds beside the shape."""


class Llava:
    """Every picture is one view; no newline, no tiles, no pooling: frames of a video are pictures."""

    name = "llava"
    model_type = "llava"
    config_class: Any = LlavaConfig
    marks: Sequence[str] = (IMAGE,)
    single_picture = "image"

    def recognises(self, folder: Path, config: Mapping[str, Any]) -> bool:
        return config.get("model_type") == self.model_type

    def parts(self, folder: Path, config: Mapping[str, Any]) -> Parts:
        described = self.described(folder, config)
        vision, text = described.vision_config, described.text_config
        known(folder, "vision_config.model_type", vision.model_type, tuple(ENCODERS))
        known(folder, "projector_hidden_act", described.projector_hidden_act, ("gelu",))
        known(folder, "multimodal_projector_bias", described.multimodal_projector_bias, (True,))
        if not isinstance(described.vision_feature_layer, int):
            raise InputError(f"{folder / 'config.json'}: no part for several layers in vision_feature_layer")
        encoder = {"name": ENCODERS[vision.model_type], "select_layer": described.vision_feature_layer}
        if encoder["name"] == "clip":
            full = described.vision_feature_select_strategy == "full"
            encoder["feature"] = "cls_patch" if full else "patch"
        tied = {"tie_word_embeddings": described.tie_word_embeddings}
        return {
            "vision_encoder": {**encoder, "config": _plain(vision)},
            "projector": {"name": "mlp", "depth": 2},
            "llm": {**_speaker(folder, text.model_type), "config": {**_plain(text), **tied}, "tokenizer": str(folder)},
            "modality": self.modalities(folder, described),
            "single_picture": self.single_picture,
        }

    def described(self, folder: Path, config: Mapping[str, Any]) -> Any:
        try:
            return self.config_class(**config)
        except (StrictDataclassError, ValueError, TypeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"{folder / 'config.json'} describes no {self.model_type} model: {reason}") from None

    def modalities(self, folder: Path, described: Any) -> dict[str, Any]:
        files = [folder / name for name in ("preprocessor_config.json", "processor_config.json")]
        found = [json.loads(file.read_text(encoding="utf-8")) for file in files if file.is_file()]
        settings = found[0].get("image_processor", found[0]) if found else {}
        return pictures("pad" if settings.get("do_pad") else "square")

    def to_native(self, name: str) -> str | None:
        for pattern, prefix in PREFIXES:
            found = re.match(pattern, name)
            if found:
                return prefix + name[found.end() :]
        return None

    def from_native(self, name: str, used: bool) -> str | None:
        group, _, rest = name.partition(".")
        if group == "vision_encoder":
            return "vision_tower.vision_model." + re.sub(r"^layers\.", "encoder.layers.", rest)
        if group == "projector":
            layer, _, kind = rest.partition(".")
            return f"multi_modal_projector.linear_{ {'0': 1, '2': 2}[layer] }.{kind}"
        return name.replace("llm.model.", "language_model.", 1) if group == "llm" and rest != "newline" else None

    def refuses(self, export: Export) -> dict[str, str]:
        kinds = export.parts["modality"]
        found = unfit_parts(export)
        lines = [kind.get("newline", False) not in (False, "none") for kind in kinds.values()]
        tiles = kinds.get("multipatch", {})
        if any(lines) or tiles.get("merge") == "spatial_unpad":
            found["newline"] = "it has no image_newline"
        if tiles.get("pinpoints"):
            found["multipatch"] = "it shows a picture as one view, without tiles"
        for kind in ("video", "scene3d"):
            if kinds.get(kind, {}).get("stride", 1) > 1:
                found[kind] = "it does not pool the tokens of a view"
        return found | misfits(kinds)

    def without(self, parts: Parts, drop: Sequence[str]) -> Parts:
        """Whatever is dropped, the modalities become those of the layout."""
        fit = parts["modality"].get("image", {}).get("fit", "square")
        return {**parts, "modality": _only(parts["modality"], pictures(fit))}

    def rows(self, export: Export) -> int:
        """Rows that the vocabulary must have: a token stands for a feature, <image> or <video>."""
        there = export.shapes["llm.model.model.embed_tokens.weight"].shape[0]
        return max(there, int(export.model.llm.tokenizer.newline_id) + len(self.marks))

    def added(self, export: Export) -> dict[str, Shape]:
        """SigLIP's last norm is run by Transformers, though nothing reads what it makes."""
        names = [f"vision_encoder.post_layernorm.{kind}" for kind in ("weight", "bias")]
        some = next(iter(export.shapes.values())).dtype
        size = (export.model.vision_encoder.dim,)
        return {str(self.from_native(n, used=True)): Shape(size, some) for n in names if n not in export.shapes}

    def describe(self, export: Export, folder: Path) -> None:
        chat = export.model.llm.tokenizer
        tokenizer = copy.deepcopy(chat.tokenizer)
        tokenizer.add_special_tokens(
            {"additional_special_tokens": list(self.marks)}, replace_extra_special_tokens=False
        )  # fmt: skip
        vision = vision_config(export)
        text = copy.deepcopy(text_model(export).config)
        text.vocab_size = self.rows(export)
        config = self.config_class(
            vision_config=vision,
            text_config=text,
            image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
            vision_feature_layer=used_layers(export) - vision.num_hidden_layers - 1,
            vision_feature_select_strategy=strategy(export),
            tie_word_embeddings=text.tie_word_embeddings,
            **self.settings(export, tokenizer),
        )
        config.architectures = [f"{type(config).__name__.removesuffix('Config')}ForConditionalGeneration"]
        config.save_pretrained(folder)
        _for_old_readers(folder / "config.json", str(next(iter(export.shapes.values())).dtype))
        GenerationConfig(eos_token_id=list(chat.stop_ids), pad_token_id=chat.pad_id).save_pretrained(folder)
        processor = self.processor(export, tokenizer, template(chat))
        processor.save_pretrained(folder)
        processor.image_processor.save_pretrained(folder)  # Transformers 4 looks for it in a file of its own

    def settings(self, export: Export, tokenizer: Any) -> dict[str, Any]:
        return {"image_seq_length": export.model.vision_encoder.spec.tokens}

    def processor(self, export: Export, tokenizer: Any, chat_template: str) -> Any:
        spec = export.model.vision_encoder.spec
        padding = "pad" in picture_fits(export.parts["modality"])
        kind: Any = LlavaImageProcessorPil if padding else SiglipImageProcessorPil
        padded = {"do_pad": True, "do_center_crop": False} if kind is LlavaImageProcessorPil else {}
        return LlavaProcessor(
            image_processor=kind(**pixels(spec), **padded),
            tokenizer=tokenizer,
            patch_size=spec.size // spec.grid,
            vision_feature_select_strategy=strategy(export),
            num_additional_image_tokens=int(tower(export.model.vision_encoder) == "clip_vision_model"),
            chat_template=chat_template,
        )


def unfit_parts(export: Export) -> dict[str, str]:
    """Parts that neither layout can hold."""
    model, parts, found = export.model, export.parts, posed(export.parts["modality"])
    if tower(model.vision_encoder) not in ENCODERS:
        found["vision_encoder"] = f"it is written with SigLIP and CLIP towers, not {parts['vision_encoder']['name']}"
    if parts["projector"]["name"] != "mlp" or parts["projector"].get("depth", 2) != 2:
        found["projector"] = f"it holds an mlp of depth 2, not {parts['projector']}"
    if text_type(model.llm) is None:
        found["llm"] = f"it holds language models of Transformers, not {parts['llm']['name']}"
    if parts["modality"].get("video", {}).get("times"):
        found["times"] = "it writes no time before a frame"
    unknown = parts["modality"].keys() - set(KINDS)
    return found | {kind: f"it has no modality {kind}" for kind in sorted(unknown)}


def pictures(fit: str) -> dict[str, Any]:
    """The modalities of a model that sees nothing but single views."""
    views = {"stride": 1, "newline": "none"}
    return {
        "image": {"name": "image", "newline": False, "fit": fit},
        "multipatch": {"name": "multipatch", "pinpoints": [], "merge": "flat", "fit": fit},
        "video": {"name": "video", **views, "times": False, "fit": "square"},
        "scene3d": {"name": "scene3d", **views, **PLAIN, "fit": fit},
    }


def _only(kinds: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    return {kind: {**node, **wanted[kind]} for kind, node in kinds.items() if kind in wanted}


def _speaker(folder: Path, kind: str) -> dict[str, Any]:
    """The language model's part, by the tokens of the turn formats that the tokenizer has."""
    files = [folder / name for name in ("tokenizer.json", "tokenizer_config.json", "added_tokens.json")]
    words = "".join(file.read_text(encoding="utf-8") for file in files if file.is_file())
    if kind in ("qwen2", "qwen3") and "<|im_start|>" in words:
        return {"name": kind}
    if kind == "llama":  # LLaVA on Llama 1 and 2 speaks as Vicuna does
        return {"name": kind, "chat": None if "<|start_header_id|>" in words else "vicuna"}
    return {"name": "auto", "chat": "template" if kind == "qwen2" else None}


def _for_old_readers(path: Path, dtype: str) -> None:
    """Transformers 4, vLLM and SGLang read the base of the rotary positions beside the other sizes."""
    config = json.loads(path.read_text(encoding="utf-8"))
    rope = config["text_config"].get("rope_parameters") or {}
    if "rope_theta" in rope:
        config["text_config"]["rope_theta"] = rope["rope_theta"]
    config["torch_dtype"] = dtype.removeprefix("torch.")
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _plain(config: Any) -> dict[str, Any]:
    """A config of Transformers as YAML can hold it."""
    known_to_it = type(config)().to_dict().keys() - NOT_SHAPE
    kept: dict[str, Any] = json.loads(config.to_json_string(use_diff=False))
    return {k: v for k, v in kept.items() if k in known_to_it and v is not None} | {"model_type": config.model_type}


def strategy(export: Export) -> str:
    patches = export.parts["vision_encoder"].get("feature", "patch") == "patch"
    return "default" if patches and tower(export.model.vision_encoder) == "clip_vision_model" else "full"


def pixels(spec: Any) -> dict[str, Any]:
    return {
        "size": {"height": spec.size, "width": spec.size},
        "image_mean": list(spec.mean),
        "image_std": list(spec.std),
    }
