"""A judge behind an OpenAI-compatible interface."""

from collections.abc import Mapping
from threading import Event
from typing import Any

from interleave import InputError, Judge, JudgeMessages, judges

from .base.http_endpoint import Endpoint, Tries
from .base.rate_limit import Pace


@judges.register("openai")
class OpenAI(Judge):
    """Any server that has ``POST base_url/chat/completions``: OpenAI's, vLLM, llama.cpp, Ollama and many others.

    model: its name there. base_url: up to and without ``/chat/completions``. key_env: the environment variable that
    holds the key; None sends no key. temperature: 0 for the likeliest answer; None leaves the field out. seed: of the
    server's sampling, one more each time that a malformed answer is asked for again; None leaves it out. max_tokens:
    the most that an answer has. body: further fields of a request; one that is None is left out (``{max_tokens: null,
    max_completion_tokens: 256}``). timeout: seconds for a whole answer. tries: of one request. backoff: seconds before
    the second try, doubled for each further one, with a random part. patience: the longest wait between two tries, also
    where the server asks for more. requests_per_minute, tokens_per_minute: rate limits, tokens in and ``max_tokens``
    counted; None for none. num_workers: requests at the same time. price_in, price_out: of a million tokens, for
    estimates.
    """

    def __init__(  # noqa: PLR0913 -- a config's options
        self,
        model: str,
        base_url: str = "https://api.openai.com/v1",
        key_env: str | None = "OPENAI_API_KEY",
        temperature: float | None = 0.0,
        seed: int | None = 0,
        max_tokens: int = 256,
        body: dict[str, Any] | None = None,
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
        pace = Pace(requests_per_minute, tokens_per_minute, Event())
        self.endpoint = Endpoint(base_url, key_env, Tries(timeout, tries, backoff, patience), pace)
        sent = {"model": model, "temperature": temperature, "seed": seed, "max_tokens": max_tokens, **(body or {})}
        self.body = {name: value for name, value in sent.items() if value is not None}
        self.max_tokens, self.num_workers, self.prices = max_tokens, num_workers, (price_in, price_out)

    def identity(self) -> Mapping[str, Any]:
        return {"judge": "openai", "base_url": self.endpoint.base_url, **self.body}

    def ask(self, messages: JudgeMessages, attempt: int) -> str:
        body = {**self.body, "messages": messages}
        if "seed" in body:
            body["seed"] += attempt
        tokens = sum(self.count(turn["content"]) for turn in messages)
        answer = self.endpoint.post("chat/completions", body, tokens + self.max_tokens)
        usage = answer.get("usage") or {}
        self.endpoint.add("tokens in", int(usage.get("prompt_tokens") or 0))
        self.endpoint.add("tokens out", int(usage.get("completion_tokens") or 0))
        try:
            said = answer["choices"][0]["message"]
            return str(said.get("content") or said.get("refusal") or "")
        except (KeyError, IndexError, TypeError, AttributeError):
            raise InputError(
                f"judge: {self.endpoint.base_url} answers with the fields {', '.join(sorted(answer))}, "
                "which is no chat completion; see judge.base_url"
            ) from None

    def used(self) -> str:
        counts = self.endpoint.counts
        if not counts["requests"]:
            return ""
        into, out = self.prices
        cost = "" if into is None or out is None else (counts["tokens in"] * into + counts["tokens out"] * out) / 1e6
        price = f", {cost:.4f} at the prices given" if cost != "" else ""
        return (
            f"{counts['requests']} requests, {counts['requests repeated']} of them again; {counts['tokens in']} tokens "
            f"in and {counts['tokens out']} out as the server counts{price}"
        )

    def close(self) -> None:
        self.endpoint.stopped.set()
