"""A judge behind an OpenAI-compatible interface."""

from collections.abc import Mapping
from threading import Event

from interleave import InputError, Judge, JudgeMessages, judges

from .base.http_endpoint import Body, Endpoint, Tries
from .base.rate_limit import RateLimit


@judges.register("openai")
class OpenAI(Judge):
    """Any server that has ``POST base_url/chat/completions``: OpenAI's, vLLM, llama.cpp, Ollama and many others.

    model: its name on the server.
    base_url: the address up to and without ``/chat/completions``.
    key_env: the environment variable that holds the key; null sends no key.
    temperature: 0 for the likeliest answer; null leaves the field out.
    seed: of the server's sampling, raised by one each time that a malformed answer is asked for again; null leaves the
        field out.
    max_tokens: the most tokens that an answer has.
    body: further fields of a request, which go before the ones above; one that is null is left out, such as
        ``{max_tokens: null, max_completion_tokens: 256}``.
    timeout: seconds for a whole answer.
    tries: how often one request is sent at most.
    backoff: seconds before the second try, doubled for each further one, with a random part.
    patience: the longest wait between two tries in seconds, also where the server asks for more.
    requests_per_minute: rate limit; null for none.
    tokens_per_minute: rate limit, tokens in and ``max_tokens`` counted; null for none.
    num_workers: requests at the same time.
    price_in: of a million tokens in, for estimates.
    price_out: of a million tokens out, for estimates.
    """

    def __init__(  # noqa: PLR0913 -- a config's options
        self,
        model: str,
        base_url: str = "https://api.openai.com/v1",
        key_env: str | None = "OPENAI_API_KEY",
        temperature: float | None = 0.0,
        seed: int | None = 0,
        max_tokens: int = 256,
        body: dict[str, object] | None = None,
        timeout: float = 60.0,
        tries: int = 6,
        backoff: float = 1.0,
        patience: float = 120.0,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        num_workers: int = 8,
        price_in: float | None = None,
        price_out: float | None = None,
    ) -> None:
        positive = {
            "max_tokens": max_tokens, "timeout": timeout, "tries": tries, "backoff": backoff, "patience": patience,
            "requests_per_minute": requests_per_minute, "tokens_per_minute": tokens_per_minute,
            "num_workers": num_workers,
        }  # fmt: skip
        for name, value in positive.items():
            if value is not None and value <= 0:
                raise InputError(f"judge.{name} is {value}; it must be more than 0")
        limit = RateLimit(requests_per_minute, tokens_per_minute, Event())
        self.endpoint = Endpoint(base_url, key_env, Tries(timeout, tries, backoff, patience), limit)
        fields = {"model": model, "temperature": temperature, "seed": seed, "max_tokens": max_tokens, **(body or {})}
        self.body = {name: value for name, value in fields.items() if value is not None}  # sent with every request
        self.max_tokens = max_tokens
        self.num_workers = num_workers
        self.prices = (price_in, price_out)

    def identity(self) -> Mapping[str, object]:
        return {"judge": "openai", "base_url": self.endpoint.base_url, **self.body}

    def ask(self, messages: JudgeMessages, attempt: int) -> str:
        body: dict[str, object] = {**self.body, "messages": messages}
        seed = body.get("seed")
        if isinstance(seed, (int, float)):
            body["seed"] = seed + attempt  # the same seed would give the same malformed answer again
        tokens = sum(self.count(message["content"]) for message in messages)  # an estimate, for the rate limit
        answer = self.endpoint.post("chat/completions", body, tokens + self.max_tokens)
        self.endpoint.add("tokens in", _usage(answer, "prompt_tokens"))
        self.endpoint.add("tokens out", _usage(answer, "completion_tokens"))
        message = _first_message(answer)
        if message is None:
            raise InputError(
                f"judge: {self.endpoint.base_url} answers with the fields {', '.join(sorted(answer))}, "
                "which is no chat completion; see judge.base_url"
            )
        # a refusal does not have the form of a grade either, and so the judge is asked again
        return str(message.get("content") or message.get("refusal") or "")

    def used(self) -> str:
        counts = self.endpoint.counts
        if not counts["requests"]:
            return ""
        price_in, price_out = self.prices
        price = ""
        if price_in is not None and price_out is not None:
            cost = (counts["tokens in"] * price_in + counts["tokens out"] * price_out) / 1e6  # prices are for a million
            price = f", {cost:.4f} at the prices given"
        return (
            f"{counts['requests']} requests, {counts['requests repeated']} of them again; {counts['tokens in']} tokens "
            f"in and {counts['tokens out']} out as the server counts{price}"
        )

    def close(self) -> None:
        self.endpoint.stopped.set()


def _first_message(answer: Body) -> Body | None:
    """``choices[0].message`` of a chat completion; None where the answer is no chat completion."""
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return None
    message = choices[0].get("message")
    return message if isinstance(message, dict) else None


def _usage(answer: Body, name: str) -> int:
    """A count of tokens from ``usage``; 0 where the server does not count them."""
    usage = answer.get("usage")
    count = usage.get(name) if isinstance(usage, dict) else None
    return int(count or 0)
