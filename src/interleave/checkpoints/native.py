"""Our own layout, the folder of a run: the only place that reads and writes ``config.yaml`` of a model."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from ..core.errors import InputError, one_line
from ..core.options import Config
from ..model.interleaved_model import InterleavedModel
from .layout import Export, Parts
from .tensor_files import TensorSpec
from .tensor_names import NameTable

CONFIG = "config.yaml"
TOKENIZER = "tokenizer"
"""The tokenizer's folder inside of the run's."""
UNUSED = "unused."
"""Prefix of stored tensors that the model does not read."""
PART_GROUPS = ("vision_encoder", "projector", "llm", "modality")
"""Nodes without which a config describes no model."""


class Native:
    """A run's folder: ``config.yaml``, ``model.safetensors`` with the names of our modules, ``tokenizer/``.

    Tensors that the model does not read, such as the last norm of a published vision tower, are kept under the prefix
    ``unused.``, so that an export to the layout they came from is complete.
    """

    name = "native"
    names = NameTable(written=[("", "")], read_only=[(UNUSED, "")])

    def recognises(self, folder: Path, config: Config) -> bool:
        return (folder / CONFIG).is_file()

    def parts(self, folder: Path, config: Config) -> Parts:
        parts = load_config(folder)
        # config.yaml names the tokenizer relative to its folder, so that a run can be moved
        if parts["llm"].get("tokenizer") == TOKENIZER:
            parts["llm"]["tokenizer"] = str(folder / TOKENIZER)
        return parts

    def to_native(self, name: str) -> str | None:
        return self.names.to_native(name)

    def from_native(self, name: str, used: bool) -> str | None:
        written = self.names.from_native(name)  # never None: the table has a row for every name
        return written if used else f"{UNUSED}{written}"

    def refusals(self, export: Export) -> dict[str, str]:
        return {}

    def without(self, parts: Parts, drop: Sequence[str]) -> Parts:
        return parts

    def added_tensors(self, export: Export) -> dict[str, TensorSpec]:
        return {}

    def vocabulary_rows(self, export: Export) -> int:
        return 0

    def write_description(self, export: Export, folder: Path) -> None:
        write_config(folder, export.model, export.parts)


def load_config(folder: Path) -> Parts:
    """The config of the run in ``folder``. Raises InputError where it has none or one that describes no model."""
    path = folder / CONFIG
    if not path.is_file():
        raise InputError(f"{folder} is not a run: it has no {CONFIG}; give the folder that training printed")
    try:
        config = OmegaConf.to_container(OmegaConf.load(path))
    except (YAMLError, OmegaConfBaseException) as error:
        raise InputError(f"{path} cannot be read: {one_line(error)}") from None
    nodes = {str(key): node for key, node in config.items()} if isinstance(config, dict) else {}
    missing = [group for group in PART_GROUPS if not isinstance(nodes.get(group), dict)]
    if missing:
        raise InputError(f"{path} describes no {missing[0]}; a run's config has {', '.join(PART_GROUPS)}")
    return nodes


def save_config(folder: Path, config: Mapping[str, object]) -> None:
    """Write ``config`` as it is to the ``config.yaml`` of ``folder``, which is made where it does not exist."""
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(OmegaConf.create(dict(config)), folder / CONFIG)


def write_config(folder: Path, model: InterleavedModel, config: Config) -> None:
    """Write the config by which ``model`` can be built again from ``folder`` alone, and its tokenizer.

    config: what the model was built from. Paths to other files are replaced by the shapes that were read from them.
    """
    # each part replaces the options that name files by what it read from them
    portable = {
        **config,
        "vision_encoder": {**config["vision_encoder"], **model.vision_encoder.portable()},
        "projector": {**config["projector"], **model.projector.portable()},
        "llm": {**config["llm"], **model.llm.portable()},
    }
    # A tokenizer that neither option names is made from code, by the language model's class.
    if config["llm"].get("tokenizer") or config["llm"].get("path"):
        model.llm.tokenizer.save(folder / TOKENIZER)
        portable["llm"]["tokenizer"] = TOKENIZER
    save_config(folder, portable)
