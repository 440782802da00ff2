"""What judges are tested with: a task whose replies they grade, and a server that answers as OpenAI's or misbehaves."""

import ast
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from interleave import JudgedTask, JudgeMessages, Sample

Body = Mapping[str, Any]


class Reply(NamedTuple):
    """status, content and headers of an answer, after some seconds."""

    status: int
    content: Any
    headers: Mapping[str, str] = {}
    after: float = 0.0
    drip: float = 0.0
    """Seconds between the bytes of the content."""


def says(text: str | None) -> Reply:
    usage = {"prompt_tokens": 10, "completion_tokens": 3}
    return Reply(200, {"choices": [{"message": {"role": "assistant", "content": text}}], "usage": usage})


def fails(status: int, message: str, code: str = "", **headers: str) -> Reply:
    return Reply(
        status, {"error": {"message": message, "code": code}}, {k.replace("_", "-"): v for k, v in headers.items()}
    )


class JudgeServer:
    """``with JudgeServer(answer) as server``: ``answer`` gets a request's body and how many came before it.

    requests: the bodies, in the order in which they came. times: when. keys: what stood in ``Authorization``.
    """

    def __init__(self, answer: Callable[[Body, int], Reply] | Sequence[Reply]) -> None:
        self.answer = answer if callable(answer) else lambda _, number: answer[min(number, len(answer) - 1)]
        self.requests: list[Body] = []
        self.times: list[float] = []
        self.keys: list[str] = []
        self.most = self._now = 0
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
                    for piece in [content] if not reply.drip else [bytes([byte]) for byte in content]:
                        self.wfile.write(piece)
                        time.sleep(reply.drip)
                except OSError:  # whoever asked has given up
                    self.close_connection = True

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler


class Graded(JudgedTask):
    """Replies that a judge says yes or no to, with a score from 0 to 5."""

    def records(self) -> Sequence[Mapping[str, Any]]:
        return records(3)

    def sample(self, record: Mapping[str, Any]) -> Sample:
        raise NotImplementedError

    def answer(self, record: Mapping[str, Any]) -> str:
        return str(record["answer"])

    def judge(self, record: Mapping[str, Any], reply: str) -> JudgeMessages:
        said = f"Question: {record['question']}\nTruth: {record['answer']}\nReply: {reply}"
        return [{"role": "system", "content": "You grade answers."}, {"role": "user", "content": said}]

    def judgement(self, text: str) -> dict[str, float] | None:
        try:
            said = ast.literal_eval(text)
            return {"accuracy": float(said["pred"] == "yes"), "score": float(said["score"])}
        except (ValueError, SyntaxError, KeyError, TypeError):
            return None


def records(count: int) -> list[dict[str, Any]]:
    return [{"question": f"How many is {n} and 1?", "answer": str(n + 1)} for n in range(count)]


def asked(count: int) -> list[tuple[dict[str, Any], str]]:
    return [(record, f"it is {record['answer']}") for record in records(count)]
