"""For tests of judges: a task whose replies they grade, and a server that answers as OpenAI's does, or misbehaves."""

import ast
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from interleave import JudgedTask, JudgeMessages, Sample

Body = Mapping[str, Any]
"""The JSON of a request."""
Record = Mapping[str, Any]
"""An item of the task."""


class Reply(NamedTuple):
    """An answer of the server.

    status: of HTTP.
    content: text as it is, or anything that becomes JSON.
    headers: beside ``Content-Length``.
    after: seconds until it is sent.
    drip: seconds between the bytes of the content.
    """

    status: int
    content: object
    headers: Mapping[str, str] = {}
    after: float = 0.0
    drip: float = 0.0


def says(text: str | None) -> Reply:
    """A judge's message, in the form of OpenAI's chat completions."""
    usage = {"prompt_tokens": 10, "completion_tokens": 3}
    return Reply(200, {"choices": [{"message": {"role": "assistant", "content": text}}], "usage": usage})


def fails(status: int, message: str, code: str = "", **headers: str) -> Reply:
    """An error in OpenAI's form. headers: their names with ``_`` for ``-``."""
    spelled = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, {"error": {"message": message, "code": code}}, spelled)


class JudgeServer:
    """A server on a free port of this machine, for ``with JudgeServer(answer) as server``.

    url: what a judge is given as its endpoint.
    requests: the bodies of the requests, in the order in which they came.
    times: when they came, on the monotonic clock, in seconds.
    keys: what stood in their ``Authorization`` header.
    most: the largest number of requests that were being answered at one time.
    """

    def __init__(self, answer: Callable[[Body, int], Reply] | Sequence[Reply]) -> None:
        """answer: from a request's body, and how many came before it, to the answer; or the answers in their order, of
        which the last is repeated.
        """
        self.answer = answer if callable(answer) else lambda _, number: answer[min(number, len(answer) - 1)]
        self.requests: list[Body] = []
        self.times: list[float] = []
        self.keys: list[str] = []
        self.most = 0
        self._now = 0  # requests that are being answered
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def start(self) -> "JudgeServer":
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __enter__(self) -> "JudgeServer":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _take(self, body: Body, key: str) -> Reply:
        """Note a request, and answer it. Called by a thread of its own for each request."""
        with self._lock:
            number = len(self.requests)
            self.requests.append(body)
            self.times.append(time.monotonic())
            self.keys.append(key)
            self._now += 1
            self.most = max(self.most, self._now)
        reply = self.answer(body, number)
        time.sleep(reply.after)
        with self._lock:
            self._now -= 1
        return reply

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        take = self._take

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                known = self.path == "/v1/chat/completions"
                reply = take(body, self.headers.get("Authorization", "")) if known else fails(404, "no such path")
                text = reply.content if isinstance(reply.content, str) else json.dumps(reply.content)
                content = text.encode()
                try:
                    self.send_response(reply.status)
                    for name, value in {**reply.headers, "Content-Length": str(len(content))}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    pieces = [bytes([byte]) for byte in content] if reply.drip else [content]
                    for piece in pieces:
                        self.wfile.write(piece)
                        time.sleep(reply.drip)
                except OSError:  # whoever asked has given up
                    self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:
                """Nothing: the standard library would print every request."""

        return Handler


class Graded(JudgedTask):
    """A task whose replies a judge calls right or wrong, with a score from 0 to 5. Its samples are never asked for."""

    def records(self) -> Sequence[Record]:
        return records(3)

    def sample(self, record: Record) -> Sample:
        raise NotImplementedError

    def answer(self, record: Record) -> str:
        return str(record["answer"])

    def judge(self, record: Record, reply: str) -> JudgeMessages:
        prompt = f"Question: {record['question']}\nTruth: {record['answer']}\nReply: {reply}"
        return [{"role": "system", "content": "You grade answers."}, {"role": "user", "content": prompt}]

    def judgement(self, text: str) -> dict[str, float] | None:
        try:
            verdict = ast.literal_eval(text)  # as in {'pred': 'yes', 'score': 4}
            return {"accuracy": float(verdict["pred"] == "yes"), "score": float(verdict["score"])}
        except (ValueError, SyntaxError, KeyError, TypeError):
            return None


def records(count: int) -> list[dict[str, str]]:
    """Items of ``Graded``: sums with 1."""
    return [{"question": f"How many is {n} and 1?", "answer": str(n + 1)} for n in range(count)]


def asked(count: int) -> list[tuple[dict[str, str], str]]:
    """What a judge is given: items, each with a reply that is right."""
    return [(record, f"it is {record['answer']}") for record in records(count)]
