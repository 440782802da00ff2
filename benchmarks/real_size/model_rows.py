"""Rows of the table on the model: a training step, a reply, the turns of a session, reading and writing it."""

import shutil
import time
from collections.abc import Mapping
from pathlib import Path

import torch

import interleave as il
from interleave.core.types import Batch
from interleave.export.convert import convert
from interleave.processing.collate import collate
from interleave.processing.render import render
from interleave.training.optimizer import Stage, freeze, optimizer

from .clock import Clock
from .input_rows import ANSWER, QUESTION

RATES: Mapping[str, float | None] = {"vision_encoder": None, "projector": 2e-5, "llm": 2e-5, "modality": 2e-5}
"""Those of the stage ``interleave``, the paper's third."""
ROW, VIEWS = 4096, 4
NEW_TOKENS = 32


def photo_batch(lm: il.LM, material: Path) -> Batch:
    """A row of ``ROW`` tokens: ``VIEWS`` photographs with a question and an answer each, in documents of their own."""
    examples = []
    for i in range(VIEWS):
        shown = il.Media("image", material / "photos" / f"{i}.jpg")
        turns = [il.Message("user", [shown, QUESTION]), il.Message("assistant", [ANSWER * 2])]
        examples.append(render(il.Sample(turns), lm.adapters, lm.model.llm.tokenizer))
    return collate([examples], ROW, lm.vision)


def training_step(material: Path, clock: Clock) -> None:
    """Forward, backward and AdamW's step in bf16, with the vision encoder frozen; the first and the second step."""
    lm = il.load(material / "model", dtype=torch.bfloat16)
    batch = photo_batch(lm, material)
    real = int((batch.document_ids > 0).sum())
    stage = Stage(RATES)
    freeze(lm.model, stage)
    lm.model.train()
    adamw = optimizer(lm.model, stage)
    for which in ("first", "second"):
        with clock(f"{which} training step of {ROW:,} tokens", f"{real} real tokens, {VIEWS} views, bf16"):
            loss, count = lm.model.loss(batch)
            (loss / count).backward()
            adamw.step()
            adamw.zero_grad()


def replying(material: Path, clock: Clock) -> None:
    """A question about a photograph, the first time and when all is warm: to the first token, and tokens after it."""
    lm = il.load(material / "model")
    turn = il.Message("user", [il.Media("image", material / "photos" / "2.jpg"), QUESTION])
    for which in ("first", "second"):
        with clock(f"{which} reply, to its first token", "one photo, one view"):
            lm.chat([turn], max_new_tokens=1)
    started = time.perf_counter()
    lm.chat([turn], max_new_tokens=1)
    first_token = time.perf_counter() - started
    with clock(f"reply of {NEW_TOKENS} tokens"):
        lm.chat([turn], max_new_tokens=NEW_TOKENS, min_new_tokens=NEW_TOKENS)
    rate = (NEW_TOKENS - 1) / (clock.lines[-1].seconds - first_token)
    clock.lines[-1] = clock.lines[-1]._replace(note=f"{rate:.1f} tokens/s after the first")


def session_turns(material: Path, clock: Clock) -> None:
    """Turns of one conversation that begins with a photograph; each is answered by one token."""
    session = il.load(material / "model").session()
    shown = il.Media("image", material / "photos" / "3.jpg")
    for turn in range(1, 51):
        question: il.Message | str = il.Message("user", [shown, QUESTION]) if turn == 1 else f"{turn}. {QUESTION}"
        if turn not in (1, 2, 10, 20, 50):
            session.ask(question, max_new_tokens=1)
            continue
        with clock(f"turn {turn} of a session"):
            session.ask(question, max_new_tokens=1)


def importing(material: Path, clock: Clock) -> None:
    """Reading the checkpoint of 1.6 GiB, and one token by it."""
    with clock("load the checkpoint"):
        lm = il.load(material / "model")
    with clock("load, then one token"):
        lm.chat("hello", max_new_tokens=1)


def exporting(material: Path, clock: Clock, layout: str) -> None:
    """Writing the checkpoint in another layout, with the proof that both compute the same. What Transformers' layouts
    cannot hold of it (how frames and several pictures are fitted) is dropped."""
    target = material / f"exported-{layout}-{time.time():.0f}"
    with clock(f"convert --to {layout}", "with its proof"):
        convert(material / "model", target, layout, () if layout == "native" else ("fit", "video"))
    shutil.rmtree(target)
