"""What every trial needs, imported once: the processes of the trials are forked from one that holds it."""

import multiprocessing

import torch

import interleave as il
import interleave.cli
import interleave.training.train

torch.set_num_threads(1)
il.load_plugins()


def train(arguments: list[str]) -> None:
    """The command line ``interleave train``, whose loader workers are forked as they are outside of this test."""
    multiprocessing.set_start_method("fork", force=True)
    raise SystemExit(interleave.cli.main(["train", *arguments]))
