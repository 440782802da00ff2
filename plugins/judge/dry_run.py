"""A judge that is not there."""

from collections.abc import Mapping
from typing import Any

from interleave import InputError, Judge, JudgeMessages, judges


@judges.register("dry_run")
class DryRun(Judge):
    """Asks nobody: what would be asked is counted and priced, and nothing is graded.

    of: the judge that would be asked, such as ``{name: openai, model: gpt-4o-mini, price_in: 0.15, price_out: 0.6}``:
    its prices and its way of counting tokens hold, and what the cache has of it is taken off. It needs no key. None
    counts four characters a token and 256 tokens an answer, without prices.
    """

    asks = False

    def __init__(self, of: dict[str, Any] | None = None) -> None:
        self.of: Judge | None = judges.build(of) if of else None
        if self.of:
            self.max_tokens, self.prices = self.of.max_tokens, self.of.prices

    def identity(self) -> Mapping[str, Any]:
        return self.of.identity() if self.of else {"judge": "dry_run"}

    def ask(self, messages: JudgeMessages, attempt: int) -> str:
        """Raises InputError: there is nobody."""
        raise InputError("judge=dry_run answers nothing; choose judge=openai or judge=local")

    def count(self, text: str) -> int:
        return self.of.count(text) if self.of else super().count(text)
