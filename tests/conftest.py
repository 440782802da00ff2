"""What the tests share: a small model of built-in parts and samples of every modality."""

import os
from pathlib import Path

from small_models import SHARED, small_config

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["WANDB_MODE"] = "offline"

import pytest
import torch

from interleave.model.assembly import Assembly, assemble

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))  # several processes of tests share the cores


@pytest.fixture
def assembly() -> Assembly:
    torch.manual_seed(0)
    return assemble(small_config())


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real media and golden numbers, beside the repository."""
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is not here: no real media to read")
    return SHARED
