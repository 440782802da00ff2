"""A judge grades replies: over real HTTP, on this machine, and not at all."""

import json
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import task_files
import torch
from chat_model import write_chat_model
from interleave_plugins.judge.base.retry_later import retry_after
from judge_server import Body, Graded, JudgeServer, Reply, asked, fails, records, says
from safetensors.torch import load_file, save_file
from small_models import ROOT
from transformers import AutoModelForCausalLM, AutoTokenizer

from interleave import BadSample, InputError, Judge, JudgedTask, JudgeMessages, judges, tasks
from interleave.compose import compose
from interleave.evaluation.judgement_cache import Cache
from interleave.evaluation.judging import REMINDER, Grade, estimate, grade, tally

KEY = "sk-a-very-secret-key-0123456789"
GOOD = "{'pred': 'yes', 'score': 4}"
RIGHT = {"accuracy": 1.0, "score": 4.0}


def openai(server: JudgeServer, **options: Any) -> Judge:
    short = {"backoff": 0.02, "timeout": 5.0, "price_in": 2.0, "price_out": 8.0}
    return judges.build({"name": "openai", "model": "grader", "base_url": server.url, **short, **options})


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "judgements.sqlite"


def user(body: Body) -> str:
    return str(body["messages"][-1]["content"])


def test_replies_are_graded_and_the_second_run_asks_nobody(cache: Path) -> None:
    with JudgeServer([says(GOOD)]) as server:
        first = grade(openai(server), Graded(), asked(5), cache)
        assert first == [Grade(RIGHT, GOOD, 1, "")] * 5
        assert len(server.requests) == 5
        assert grade(openai(server), Graded(), asked(5), cache) == first
        assert grade(openai(server, num_workers=1, timeout=9.0), Graded(), asked(3), cache) == first[:3]
        assert len(server.requests) == 5
        body = server.requests[0]
        assert {k: body[k] for k in ("model", "temperature", "seed", "max_tokens")} == {
            "model": "grader",
            "temperature": 0.0,
            "seed": 0,
            "max_tokens": 256,
        }
        assert set(server.keys) == {f"Bearer {KEY}"}


@pytest.mark.parametrize("change", [{"model": "other"}, {"temperature": 0.5}, {"body": {"top_p": 0.9}}, {"seed": 1}])
def test_another_judge_does_not_get_the_cached_answer(cache: Path, change: Mapping[str, Any]) -> None:
    with JudgeServer([says(GOOD)]) as server:
        grade(openai(server), Graded(), asked(1), cache)
        grade(openai(server, **change), Graded(), asked(1), cache)
        assert len(server.requests) == 2


def test_the_same_question_is_asked_once_and_the_order_changes_nothing(cache: Path, tmp_path: Path) -> None:
    def answer(body: Body, number: int) -> Reply:
        return says(f"{{'pred': 'yes', 'score': {len(user(body)) % 5}}}")

    items = [(r, "x" * n) for n, r in enumerate(records(12))] * 2
    mixed = random.Random(0).sample(range(24), 24)
    with JudgeServer(answer) as server:
        straight = grade(openai(server), Graded(), items, cache)
        assert len(server.requests) == 12
        assert straight[:12] == straight[12:]
        shuffled = grade(openai(server), Graded(), [items[i] for i in mixed], tmp_path / "other")
        assert shuffled == [straight[i] for i in mixed]


def test_requests_run_side_by_side(cache: Path) -> None:
    with JudgeServer([says(GOOD)._replace(after=0.1)]) as server:
        grade(openai(server, num_workers=6), Graded(), asked(12), cache)
        assert 2 <= server.most <= 6
    with JudgeServer([says(GOOD)._replace(after=0.01)]) as server:
        grade(openai(server, num_workers=1, seed=5), Graded(), asked(4), cache)
        assert server.most == 1


def test_a_busy_server_is_asked_again_after_the_time_it_names(cache: Path) -> None:
    with JudgeServer([fails(429, "slow down", Retry_After="1"), says(GOOD)]) as server:
        assert grade(openai(server), Graded(), asked(1), cache)[0].scores == RIGHT
        assert 1.0 <= server.times[1] - server.times[0] < 5


def test_the_time_that_one_is_told_to_wait_holds_for_all(cache: Path) -> None:
    with JudgeServer([fails(429, "slow down", Retry_After="1"), says(GOOD)]) as server:
        grade(openai(server, num_workers=2, requests_per_minute=240), Graded(), asked(4), cache)
        assert server.times[1] - server.times[0] >= 0.95, "the second thread had not begun yet"


def test_errors_of_the_server_are_asked_again_with_growing_pauses(cache: Path) -> None:
    replies = [fails(500, "oops"), fails(503, "oops"), fails(502, "<html>"), says(GOOD)]
    with JudgeServer(replies) as server:
        judge = openai(server, backoff=0.1)
        assert grade(judge, Graded(), asked(1), cache)[0].scores == RIGHT
        pauses = [b - a for a, b in zip(server.times, server.times[1:], strict=False)]
        assert pauses[0] >= 0.1
        assert pauses[2] >= 0.4, "it doubles"
        assert judge.used().startswith("4 requests, 3 of them again; 10 tokens in and 3 out as the server counts")


def test_a_server_that_stays_broken_ends_the_run_and_keeps_what_it_said(cache: Path) -> None:
    def answer(body: Body, number: int) -> Reply:
        return fails(500, "broken") if "3 and 1" in user(body) else says(GOOD)

    with JudgeServer(answer) as server:
        with pytest.raises(InputError, match=r"no answer in 3 tries, the last: status 500, broken. .*is kept"):
            grade(openai(server, tries=3, num_workers=2), Graded(), asked(6), cache)
        before = len(server.requests)
        server.answer = lambda body, number: says(GOOD)
        assert all(g.scores == RIGHT for g in grade(openai(server), Graded(), asked(6), cache))
        assert len(server.requests) - before < 6, "some are in the cache"


def test_a_server_that_hangs_is_left_after_the_timeout(cache: Path) -> None:
    with JudgeServer([says(GOOD)._replace(after=8.0), says(GOOD)]) as server:
        start = time.monotonic()
        assert grade(openai(server, timeout=0.4), Graded(), asked(1), cache)[0].scores == RIGHT
        assert 0.4 <= time.monotonic() - start < 6
        assert len(server.requests) == 2


def test_a_server_that_drips_is_left_after_the_timeout(cache: Path) -> None:
    with JudgeServer([says(GOOD)._replace(drip=0.1), says(GOOD)]) as server:
        start = time.monotonic()
        assert grade(openai(server, timeout=0.5), Graded(), asked(1), cache)[0].scores == RIGHT
        assert time.monotonic() - start < 8


def test_malformed_judgements_are_asked_for_again(cache: Path) -> None:
    with JudgeServer([says("I would say: good."), says(None), says(GOOD)]) as server:
        assert grade(openai(server), Graded(), asked(1), cache) == [Grade(RIGHT, GOOD, 3, "")]
        assert [body["seed"] for body in server.requests] == [0, 1, 2]
        assert [user(body).endswith(REMINDER) for body in server.requests] == [False, True, True]
        grade(openai(server), Graded(), asked(1), cache)
        assert len(server.requests) == 3


def test_what_stays_malformed_is_counted_and_never_guessed(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def answer(body: Body, number: int) -> Reply:
        return says("{'pred': 'perhaps'") if "1 and 1" in user(body) else says(GOOD)

    with JudgeServer(answer) as server:
        grades = grade(openai(server), Graded(), asked(3), cache, retries=2)
        assert [g.scores for g in grades] == [RIGHT, None, RIGHT]
        assert grades[1].attempts == 3
        assert grades[1].error.startswith("malformed: 3 answers not in the form, the last is \"{'pred': 'perhaps'\"")
        assert tally(grades) == "2 of 3 replies graded, 1 ungraded (1 malformed)"
        assert "2 of 3 replies graded, 1 ungraded (1 malformed); 5 requests" in capsys.readouterr().err
        assert grade(openai(server), Graded(), asked(3), cache, retries=2) == grades
        assert len(server.requests) == 5, "malformed answers are kept, too"
        server.answer = lambda body, number: says(GOOD)
        assert grade(openai(server), Graded(), asked(3), cache, retries=3)[1] == Grade(RIGHT, GOOD, 4, "")


@pytest.mark.parametrize("code", ["content_filter", "context_length_exceeded"])
def test_a_conversation_that_is_refused_alone_stays_ungraded(cache: Path, code: str) -> None:
    def answer(body: Body, number: int) -> Reply:
        return fails(400, "not this one", code) if "1 and 1" in user(body) else says(GOOD)

    with JudgeServer(answer) as server:
        grades = grade(openai(server), Graded(), asked(3), cache)
    assert [g.scores for g in grades] == [RIGHT, None, RIGHT]
    assert grades[1].error == f"refused: {code} not this one"


@pytest.mark.parametrize(
    ("reply", "says_so"),
    [
        (fails(401, f"Incorrect API key provided: {KEY}"), r"does not accept the key in OPENAI_API_KEY \(401\)"),
        (fails(404, "no such model"), r"http://127.0.0.1:\d+/v1 does not know judge.model=grader"),
        (fails(400, "Unsupported parameter: 'max_tokens'"), r"does not take requests for grader \(400\): Unsupported"),
        (fails(429, "You exceeded your quota", "insufficient_quota"), "has nothing left"),
        (fails(429, "slow down", Retry_After="3600"), "asks to wait 3600 s, and judge.patience is 120"),
        (Reply(302, "", {"Location": "/login"}), r"\(302\)"),
        (Reply(200, "<html>Welcome</html>"), "does not answer in JSON; is it the right path. It said: <html>"),
        (Reply(200, {"object": "list"}), "with the fields object, which is no chat completion"),
    ],
    ids=["key", "model", "parameter", "quota", "patience", "moved", "html", "other"],
)
def test_what_no_second_try_mends_is_one_line(cache: Path, reply: Reply, says_so: str) -> None:
    with JudgeServer([reply]) as server:
        with pytest.raises(InputError, match=says_so) as error:
            grade(openai(server, num_workers=1), Graded(), asked(3), cache)
        assert len(server.requests) == 1
        assert KEY not in str(error.value)
        assert "\n" not in str(error.value)


def test_no_server_is_one_line(cache: Path) -> None:
    with JudgeServer([]) as server:
        pass
    with pytest.raises(InputError, match=r"judge.base_url http://127.0.0.1:\d+/v1 cannot be reached"):
        grade(openai(server), Graded(), asked(2), cache)


@pytest.mark.parametrize("value", [None, "  ", "two\nlines"])
def test_a_missing_key_is_named_and_nobody_asked(
    cache: Path, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY") if value is None else monkeypatch.setenv("OPENAI_API_KEY", value)
    with JudgeServer([says(GOOD)]) as server:
        with pytest.raises(InputError, match="OPENAI_API_KEY"):
            grade(openai(server), Graded(), asked(2), cache)
        assert not server.requests
        assert grade(openai(server, key_env=None), Graded(), asked(2), cache)[0].scores == RIGHT
        assert set(server.keys) == {""}


def test_a_key_in_a_config_is_refused_without_being_shown() -> None:
    with pytest.raises(InputError, match="must name an environment variable") as error:
        judges.build({"name": "openai", "model": "m", "key_env": KEY})
    assert KEY not in str(error.value)
    with pytest.raises(InputError, match="base_url must be") as error:
        judges.build({"name": "openai", "model": "m", "base_url": f"https://me:{KEY}@host/v1"})
    assert KEY not in str(error.value)


def test_the_key_stands_in_no_file_log_or_message(
    cache: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    with JudgeServer([fails(500, f"I was sent {KEY}"), says(GOOD)]) as server:
        judge = openai(server)
        grade(judge, Graded(), asked(3), cache)
        assert f"Bearer {KEY}" in server.keys
    said = capfd.readouterr()
    files = [path.read_bytes().decode(errors="replace") for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) >= 1
    told = [*files, caplog.text, said.out, said.err, repr(judge), judge.used(), json.dumps(dict(judge.identity()))]
    assert not [text for text in told if KEY in text]


def test_the_rate_of_requests_is_kept(cache: Path) -> None:
    with JudgeServer([says(GOOD)]) as server:
        grade(openai(server, requests_per_minute=1200, num_workers=8), Graded(), asked(12), cache)
        took = server.times[-1] - server.times[0]
    assert 11 / took <= 20 * 1.1, f"{11 / took:.1f} requests a second, 20 are allowed"
    assert 11 / took >= 20 * 0.2, "it does not wait longer than it must"


def test_the_rate_of_tokens_is_kept(cache: Path) -> None:
    with JudgeServer([says(GOOD)]) as server:
        grade(openai(server, tokens_per_minute=60_000, max_tokens=100, num_workers=8), Graded(), asked(6), cache)
        took = server.times[-1] - server.times[0]
    assert 5 * 100 / took <= 1000, "tokens a second"
    assert took < 4


def test_an_estimate_comes_before_the_first_question(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with JudgeServer([says(GOOD)]) as server:
        judge = openai(server, max_tokens=10)
        grade(judge, Graded(), asked(2), cache)
        found = estimate(judge, Graded(), asked(5), cache)
        characters = [[len(t["content"]) for t in Graded().judge(*item)] for item in asked(5)[2:]]
        tokens = sum(-(-n // 4) for lengths in characters for n in lengths)
        assert found == (3, 2, tokens, 30, pytest.approx((tokens * 2.0 + 30 * 8.0) / 1e6))
        assert len(server.requests) == 2
        assert estimate(openai(server, price_in=None), Graded(), asked(5), cache).cost is None
    assert capsys.readouterr().err.startswith("judge: 2 requests, 0 more answered by the cache; about")


def test_a_dry_run_asks_nobody(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with JudgeServer([says(GOOD)]) as server:
        grade(openai(server), Graded(), asked(2), cache)
        of = {"name": "openai", "model": "grader", "base_url": server.url, "price_in": 2.0, "price_out": 8.0}
        capsys.readouterr()
        grades = grade(judges.build({"name": "dry_run", "of": of}), Graded(), asked(4), cache)
        assert len(server.requests) == 2
    assert [g.scores for g in grades] == [RIGHT, RIGHT, None, None]
    assert grades[3] == Grade(None, "", 0, "not asked")
    told = capsys.readouterr().err
    assert "judge: 2 requests, 2 more answered by the cache" in told
    assert "2 ungraded (2 not asked)" in told
    plain = grade(judges.build({"name": "dry_run"}), Graded(), asked(4), cache)
    assert {g.error for g in plain} == {"not asked"}


def test_several_processes_share_a_cache(cache: Path) -> None:
    code = f"""
        from pathlib import Path
        from interleave.evaluation.judgement_cache import Cache
        with Cache(Path({str(cache)!r})) as cache:
            kept = [cache.put(f"key {{n}}", "judge", f"{{n}} by NAME") for n in range(200)]
            assert all(cache.get(f"key {{n}}") == text for n, text in enumerate(kept))
    """
    commands = [textwrap.dedent(code).replace("NAME", name) for name in ("one", "two")]
    running = [subprocess.Popen([sys.executable, "-c", command]) for command in commands]
    assert [process.wait(120) for process in running] == [0, 0]
    with Cache(cache) as known:
        assert all(str(known.get(f"key {n}")).startswith(f"{n} by ") for n in range(200))


def test_a_run_that_was_killed_goes_on_where_it_stood(cache: Path, tmp_path: Path) -> None:
    code = f"""
        import sys
        sys.path.insert(0, {str(ROOT / "tests" / "support")!r})
        from pathlib import Path
        from interleave.evaluation.judging import grade
        from interleave_plugins.judge.openai import judges
        from judge_server import Graded, asked
        judge = judges.build({{"name": "openai", "model": "grader", "base_url": sys.argv[1], "num_workers": 3}})
        grade(judge, Graded(), asked(40), Path({str(cache)!r}))
    """
    with JudgeServer([says(GOOD)._replace(after=0.05)]) as server:
        process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), server.url], stderr=subprocess.DEVNULL)
        end = time.monotonic() + 120
        while len(server.requests) < 12 and process.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        before = len(server.requests)
        assert 12 <= before < 40
        assert all(g.scores == RIGHT for g in grade(openai(server), Graded(), asked(40), cache))
        assert 40 <= len(server.requests) <= 40 + 3, "only what was under way is asked again"


def test_a_file_that_is_no_cache_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a data base, and long enough to be taken for one" * 20)
    with pytest.raises(InputError, match=r"notes.txt is no cache of judgements"):
        Cache(tmp_path / "notes.txt")


@pytest.mark.parametrize(
    ("text", "seconds"), [("2", 2.0), ("0.5", 0.5), ("", None), ("soon", None), ("-3", None)]
)  # fmt: skip
def test_the_time_to_wait_is_read(text: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": text}) == seconds


def test_the_time_to_wait_may_be_a_date() -> None:
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert 28 <= (retry_after({"retry-after": moment}) or 0) <= 30
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0


def test_text_that_is_no_unicode_is_kept(cache: Path) -> None:
    with JudgeServer([says("{'pred': 'yes', 'score': 4, 'why': '\ud800'}")]) as server:
        items = [(records(1)[0], "half a pair: \ud83d")]
        first = grade(openai(server), Graded(), items, cache)
        assert first[0].scores == RIGHT
        assert grade(openai(server), Graded(), items, cache) == first


@pytest.mark.parametrize("option", ["max_tokens", "num_workers", "tries", "timeout", "requests_per_minute"])
def test_options_that_make_no_sense_are_refused(option: str) -> None:
    with pytest.raises(InputError, match=rf"judge.{option} is 0"):
        judges.build({"name": "openai", "model": "m", option: 0})


def test_a_judge_is_chosen_on_the_command_line() -> None:
    config = compose("eval", ["model=x", "judge=openai", "judge.model=m", "judge.body={max_tokens:null,top_k:1}"])
    judge = judges.build(config["judge"])
    assert "max_tokens" not in judge.identity()
    assert judge.identity()["top_k"] == 1


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("activitynet_qa", "{'pred': 'yes', 'score': 4}", "{'pred': 'yes', 'score': 6}"),
        ("vdd", "{'score': 4}", "The score is 4."),
        ("videochatgpt", "{'score': 4}", "{'score': 'four'}"),
    ],
)
def test_the_judged_benchmarks_are_graded(name: str, good: str, bad: str, tmp_path: Path) -> None:
    task = tasks.build({"name": name, **task_files.write(name, tmp_path)})
    assert isinstance(task, JudgedTask)
    items = [(record, f"reply {n}") for n, record in enumerate(task.records())]

    with JudgeServer([says(bad), says(good)]) as server:
        grades = grade(openai(server, num_workers=1), task, items, tmp_path / "cache")
        different = {user(body).removesuffix(REMINDER) for body in server.requests}
        assert len(server.requests) == len(different) + 1
    assert {g.scores["score"] for g in grades if g.scores} == {4.0}
    assert [g.error for g in grades] == [""] * len(items)
    assert {g.attempts for g in grades} <= {1, 2}


class Fixed(Judge):
    """Says what a table holds; in batches that fail where one of them is bad."""

    batch = 4

    def __init__(self, table: Callable[[str], str]) -> None:
        self.table = table
        self.sizes: list[int] = []

    def identity(self) -> Mapping[str, Any]:
        return {"judge": "fixed"}

    def ask(self, messages: JudgeMessages, attempt: int) -> str:
        return self.table(messages[-1]["content"])

    def ask_batch(self, conversations: Sequence[JudgeMessages], attempt: int) -> list[str]:
        self.sizes.append(len(conversations))
        return super().ask_batch(conversations, attempt)


def test_one_bad_conversation_of_a_batch_costs_only_itself(cache: Path) -> None:
    def table(text: str) -> str:
        if "2 and 1" in text:
            raise BadSample("over_length", "too long")
        return GOOD

    judge = Fixed(table)
    grades = grade(judge, Graded(), asked(6), cache)
    assert [g.error for g in grades] == ["", "", "refused: too long", "", "", ""]
    assert sorted(judge.sizes) == [1, 1, 1, 1, 2, 4]


@pytest.fixture(scope="module")
def chat_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_chat_model(tmp_path_factory.mktemp("judge"))


def test_a_local_model_answers_alone_as_in_a_batch_and_is_read_late(chat_model: Path) -> None:
    judge: Any = judges.build({"name": "local", "path": str(chat_model), "max_tokens": 6, "batch": 3})
    questions = [Graded().judge(*item) for item in asked(3)]
    questions[1][1]["content"] = "short"
    assert judge._model is None
    together = judge.ask_batch(questions, 0)
    assert together == [judge.ask(messages, 0) for messages in questions]
    assert len(set(together)) > 1, "the tiny model must say different things for this to mean something"


def test_a_local_model_says_what_transformers_makes_it_say(chat_model: Path) -> None:
    judge: Any = judges.build({"name": "local", "path": str(chat_model), "max_tokens": 5})
    messages = [{"role": "user", "content": "Is it right?"}]
    tokenizer = AutoTokenizer.from_pretrained(chat_model)
    prompt = "<|im_start|>user\nIs it right?<|im_end|>\n<|im_start|>assistant\n"
    ids = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")["input_ids"]
    model = AutoModelForCausalLM.from_pretrained(chat_model)
    for _ in range(5):
        ids = torch.cat([ids, model(ids).logits[:, -1:].argmax(-1)], 1)
    said = tokenizer.decode(ids[0, -5:], skip_special_tokens=True)
    assert judge.ask(messages, 0) == said
    assert judge.count("Is it right?") == 12, "it counts bytes, by its tokenizer"


def test_a_local_judge_grades_from_the_cache_without_its_weights(chat_model: Path, cache: Path) -> None:
    options = {"name": "local", "path": str(chat_model), "max_tokens": 4, "batch": 2}
    grades = grade(judges.build(options), Graded(), asked(3), cache, retries=1)
    assert [g.attempts for g in grades] == [2, 2, 2]
    assert tally(grades) == "0 of 3 replies graded, 3 ungraded (3 malformed)"
    again: Any = judges.build(options)
    assert grade(again, Graded(), asked(3), cache, retries=1) == grades
    assert again._model is None
    weights = chat_model / "model.safetensors"
    os.utime(weights, ns=(0, weights.stat().st_mtime_ns + 1))
    assert judges.build(options).identity() != again.identity(), "other weights in the same place are another judge"


def test_a_question_too_long_for_a_local_judge_is_refused_alone(chat_model: Path, cache: Path) -> None:
    judge = judges.build({"name": "local", "path": str(chat_model), "max_tokens": 4})
    items = [*asked(2), (records(1)[0], "word " * 200)]
    grades = grade(judge, Graded(), items, cache, retries=0)
    assert [g.error.split(":")[0] for g in grades] == ["malformed", "malformed", "refused"]
    assert "an answer up to 4, more than the 512 of" in grades[2].error


def test_a_model_without_a_system_turn_gets_it_with_the_question(chat_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(chat_model, tmp_path / "model")
    template = (folder / "chat_template.jinja").read_text()
    refuse = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system turn') }}{% endif %}"
    (folder / "chat_template.jinja").write_text(refuse + template)
    judge: Any = judges.build({"name": "local", "path": str(folder)})
    messages = [{"role": "system", "content": "You grade."}, {"role": "user", "content": "Is it right?"}]
    assert judge._prompt(messages).startswith("<|im_start|>user\nYou grade.\n\nIs it right?<|im_end|>")


def test_what_is_no_local_judge_is_one_line(chat_model: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="judge 'local': path /nowhere does not exist"):
        judges.build({"name": "local", "path": "/nowhere"})
    bare = shutil.copytree(chat_model, tmp_path / "bare")
    (bare / "chat_template.jinja").unlink()
    with pytest.raises(InputError, match="has no chat template; a judge must be a chat model"):
        judges.build({"name": "local", "path": str(bare)})
    half = shutil.copytree(chat_model, tmp_path / "half")
    tensors = load_file(half / "model.safetensors")
    tensors.pop("model.norm.weight")
    save_file(tensors, half / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=r"lacks model.norm.weight and 0 more tensors"):
        judges.build({"name": "local", "path": str(half)}).ask([{"role": "user", "content": "?"}], 0)
