"""Checks that every plugin passes: for the tests of plugin packages, and for our own."""

from collections.abc import Callable, Mapping

from ..core.options import Config
from .data_checks import check_dataset, check_judge, check_task, write_records
from .flow_check import check_flow
from .part_checks import check_documents, check_llm, check_modality, check_projector, check_vision_encoder

__all__ = ["CHECKS", "check", "check_documents", "check_flow", "write_records"]

CHECKS: Mapping[str, Callable[[Config, Config], None]] = {
    "vision_encoder": check_vision_encoder,
    "projector": check_projector,
    "llm": check_llm,
    "modality": check_modality,
    "dataset": check_dataset,
    "task": check_task,
    "judge": check_judge,
}
"""Group -> the check of its components; each takes what ``check`` takes."""


def check(group: str, node: Config, config: Config) -> None:
    """Check one component against its contract.

    group: a config group, such as ``modality``.
    node: config of the component, ``{"name": ..., **options}``.
    config: small parts to assemble it with, one for each group of a model.

    Raises AssertionError.
    """
    CHECKS[group](node, config)
