"""Imports that every trial of a test needs, made once: trials are forked from a process that has them."""

import multiprocessing

import torch

import interleave as il
import interleave.cli
import interleave.training.train

torch.set_num_threads(1)
il.load_plugins()


def train(arguments: list[str]) -> None:
    """Run ``interleave train`` with ``arguments`` and exit with its code.

    A trial comes from a fork server, and so would its loader workers; elsewhere they are forked.
    """
    multiprocessing.set_start_method("fork", force=True)
    raise SystemExit(interleave.cli.main(["train", *arguments]))
