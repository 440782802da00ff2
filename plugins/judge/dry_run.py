"""A judge that asks nobody, to learn what judging would cost."""

from collections.abc import Mapping

from interleave import InputError, Judge, JudgeMessages, judges


@judges.register("dry_run")
class DryRun(Judge):
    """Asks nobody: what would be asked is counted and priced, and nothing is graded.

    of: the judge that would be asked, such as ``{name: openai, model: gpt-4o-mini, price_in: 0.15, price_out: 0.6}``.
        Its prices and its way of counting tokens hold, and what the cache already has of it is not counted. No key is
        needed. null counts four characters a token and 256 tokens an answer, without prices.
    """

    asks = False

    def __init__(self, of: dict[str, object] | None = None) -> None:
        self.of: Judge | None = judges.build(of) if of else None  # built, but never asked
        if self.of:
            self.max_tokens = self.of.max_tokens
            self.prices = self.of.prices

    def identity(self) -> Mapping[str, object]:
        return self.of.identity() if self.of else {"judge": "dry_run"}

    def ask(self, messages: JudgeMessages, attempt: int) -> str:
        """Always raises InputError."""
        raise InputError("judge=dry_run answers nothing; choose judge=openai or judge=local")

    def count(self, text: str) -> int:
        return self.of.count(text) if self.of else super().count(text)
