"""How a reply is generated: options of a user, checked, as ``inference/generate.py`` takes them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from transformers import GenerationConfig

from ..core.errors import InputError, hint

DEFAULT_MAX_NEW_TOKENS = 256
"""The most tokens of a reply where neither ``max_new_tokens`` nor ``max_length`` is given."""
SAMPLING_OPTIONS = ("temperature", "top_k", "top_p")
"""Giving any of them turns sampling on; without them decoding is greedy."""


class GenerationOptions(NamedTuple):
    """Checked options of generation.

    generate_kwargs: keyword arguments of Transformers' ``generate``.
    stop_strings: a reply ends before the first of them. Kept apart, since Transformers' own criterion sees only a text
        that ends with one, and a token may go on after it.
    seed: of sampling; None draws from torch's global random numbers.
    """

    generate_kwargs: dict[str, Any]
    stop_strings: tuple[str, ...] = ()
    seed: int | None = None

    @property
    def num_beams(self) -> int:
        """How many replies a beam search follows at once; 1 is no beam search."""
        beams: int = self.generate_kwargs.get("num_beams", 1)
        return beams

    @property
    def max_new_tokens(self) -> int:
        """The most tokens of a reply; the default where only ``max_length`` limits it."""
        return int(self.generate_kwargs.get("max_new_tokens", DEFAULT_MAX_NEW_TOKENS))


def generation_options(options: Mapping[str, object]) -> GenerationOptions:
    """Check options by name and fill in defaults. Raises InputError for an unknown name.

    options: any of Transformers' ``GenerationConfig``, and ``seed``. ``stop_strings`` is one string or several.
    """
    kwargs: dict[str, Any] = dict(options)
    # ``transformers_version`` is written into a GenerationConfig, and does nothing
    known = {*GenerationConfig().to_dict(), "seed", "past_key_values"} - {"transformers_version"}
    for name in kwargs:
        if name not in known:
            raise InputError(f"generation has no option {name!r}{hint(name, known)}")
    seed = kwargs.pop("seed", None)  # no option of Transformers
    stop_strings = kwargs.pop("stop_strings", None) or ()
    stop_strings = (stop_strings,) if isinstance(stop_strings, str) else tuple(stop_strings)
    if any(kwargs.get(name) is not None for name in SAMPLING_OPTIONS):
        kwargs.setdefault("do_sample", True)  # Transformers ignores a temperature unless sampling is on
    if not {"max_new_tokens", "max_length"} & kwargs.keys():
        kwargs["max_new_tokens"] = DEFAULT_MAX_NEW_TOKENS
    return GenerationOptions(kwargs, stop_strings, seed)
