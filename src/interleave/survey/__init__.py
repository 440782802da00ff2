"""``interleave data``: what a model would be trained on, before it is. One module a subcommand."""

from .command import data_command

__all__ = ["data_command"]
