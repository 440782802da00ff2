"""Rows of the table on what comes before the model: rendering, decoding, packing."""

import time
from pathlib import Path

from interleave_plugins.llm.base.chat_formats import FORMATS, HFChatTokenizer, read_tokenizer

import interleave as il
from interleave.data.packing import Packer
from interleave.processing.collate import collate
from interleave.processing.render import render

from ..balance import example, lengths
from .clock import Clock

VISION = il.VisionSpec(384, 27)
QUESTION = "What is to be seen in the second picture that is not in the first one, and where does it stand? "
ANSWER = "A small red house stands at the left, behind two trees; in the first picture there is a meadow in its place. "


def chat_tokenizer(material: Path) -> HFChatTokenizer:
    """The tokenizer of 151,936 entries, in ChatML."""
    return HFChatTokenizer(read_tokenizer(str(material / "model")), FORMATS["chatml"], "You are a helpful assistant.")


def rendering(material: Path, clock: Clock) -> None:
    """Samples of one and of fifty rounds to tokens and labels."""
    chat = chat_tokenizer(material)
    for rounds in (1, 50):
        turns = []
        for i in range(rounds):
            turns += [il.Message("user", [f"{i}. {QUESTION}"]), il.Message("assistant", [f"{i}. {ANSWER}"])]
        sample = il.Sample(turns)
        num_tokens = len(render(sample, {}, chat).input_ids)
        title = f"render a conversation of {rounds} round{'s' * (rounds > 1)}"
        clock.median(title, lambda sample=sample: render(sample, {}, chat), 20, f"{num_tokens} tokens")


def decoding(material: Path, clock: Clock) -> None:
    """A photograph to a view and to tiles, a clip to frames."""
    photo = material / "photos" / "0.jpg"
    single = il.modalities.build({"name": "image"}, vision=VISION, llm_dim=8)
    clock.median("photo of 12 megapixels to a view", lambda: single.prepare(photo))
    tiles = il.modalities.build(
        {"name": "multipatch", "pinpoints": "(1x1),...,(6x6)", "max_tiles": 9}, vision=VISION, llm_dim=8
    )
    num_views = len(tiles.prepare(photo).pixel_values)
    clock.median("photo to anyres tiles", lambda: tiles.prepare(photo), 3, f"{num_views} views")
    for frames in (16, 32):
        video = il.modalities.build({"name": "video", "num_frames": frames}, vision=VISION, llm_dim=8)
        clock.median(
            f"{frames} frames of a 1080p clip",
            lambda video=video: video.prepare(material / "clip.mp4"),
            3,
            "10 s of h264",
        )


def packing(material: Path, clock: Clock) -> None:
    """Choosing rows of 16,384 tokens from lengths like M4-Instruct's, and laying one row out."""
    packer, supply = Packer(1, 16_384, 10_000, 4), lengths(2000)
    spent, rows = 0.0, 0
    for rows in range(1, 21):
        while not packer.full:
            packer.add(rows, example(*next(supply)))
        started = time.perf_counter()
        packer.take()
        spent += time.perf_counter() - started
    clock.add("choose a row of 16,384 tokens", spent / rows, "lookahead 4")
    chat = chat_tokenizer(material)
    adapters = {"image": il.modalities.build({"name": "image"}, vision=VISION, llm_dim=8)}
    shown = il.Media("image", material / "photos" / "1.jpg")
    made = [
        render(il.Sample([il.Message("user", [shown, QUESTION]), il.Message("assistant", [ANSWER])]), adapters, chat)
    ]
    clock.median("collate a row of 16,384 tokens", lambda: collate([made * 19], 16_384, VISION), 5, "19 views")
