"""Limits that the published layouts share: features of a model that none of them can hold."""

from collections.abc import Mapping, Sequence

from ..core.options import Config

NO_CAMERAS = {"poses": "none", "titles": "none"}
"""Options of a 3D modality that shows views as plain pictures."""


def as_published(modalities: Mapping[str, Config]) -> dict[str, Config]:
    """The nodes of a published model's modalities, whose pictures Pillow resizes, as when it was trained."""
    return {kind: {**node, "resize": "pillow"} for kind, node in modalities.items()}


def camera_refusals(modalities: Mapping[str, Config]) -> dict[str, str]:
    """Options of the 3D modality that tell the model where cameras stood -> why no published layout holds them."""
    node = modalities.get("scene3d", {})
    chosen = {option: node.get(option, "none") for option in NO_CAMERAS}
    reasons = {
        "poses": f"it has no weights for scene3d.poses={chosen['poses']}",
        "titles": "it writes no position before a view",
    }
    return {option: reasons[option] for option, value in chosen.items() if value != "none"}


def without_cameras(scene: Config, drop: Sequence[str]) -> Config:
    """A copy of the 3D modality's node ``scene``, in which the options of ``camera_refusals`` in ``drop`` are off."""
    switched_off = {option: value for option, value in NO_CAMERAS.items() if option in drop}
    return {**scene, **switched_off}


def picture_fits(modalities: Mapping[str, Config]) -> list[str]:
    """The different ways, ``square`` or ``pad``, in which the modalities make squares of pictures.

    Frames of a video do not count: the released code resizes them directly, whatever ``image_aspect_ratio`` says.
    """
    fits = [node.get("fit", "square") for kind, node in modalities.items() if kind != "video"]
    return list(dict.fromkeys(fits))  # each once, in the order of the modalities


def fit_refusals(modalities: Mapping[str, Config]) -> dict[str, str]:
    """Why a layout with one setting for all pictures cannot hold the modalities' ``fit``; empty where it can."""
    if len(picture_fits(modalities)) > 1:
        return {"fit": "one setting serves all pictures, and the modalities differ in fit"}
    if modalities.get("video", {}).get("fit", "square") != "square":
        return {"fit": "it never pads the frames of a video"}
    return {}
