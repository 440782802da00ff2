"""The demonstrations of the paper, on its own media where they are."""

from pathlib import Path

import pytest
from interleave_plugins.task.emerging import Emerging

import interleave as il


def test_there_are_the_papers_ten() -> None:
    demos = Emerging("nowhere").records()
    assert len({d["id"] for d in demos}) == len(demos) == 11  # one of the ten asks twice
    assert [len(d.get("images", ())) for d in demos if d["kind"] == "application"] == [2, 2, 5, 4, 2, 2, 3]


def test_every_demonstration_is_shown_whole(shared: Path) -> None:
    task = Emerging(str(shared / "media"), frames=4)
    adapters = {"image": 1, "video": 4}
    for record in task.records():
        (turn,) = task.sample(record).messages
        media = [part for part in turn.content if isinstance(part, il.Media)]
        assert turn.content[-1] == record["prompt"]
        if "images" in record:
            assert [m.kind for m in media] == ["image"] * len(record["images"])
            assert all(il.load_image(m.data).width for m in media)
        else:
            (clip,) = media
            frames = il.load_frames(clip.data, 100)[0]
            assert len(frames) == (adapters["video"] * 2 if len(record["videos"]) == 2 else 17)


def test_two_videos_are_one_half_each(shared: Path) -> None:
    task = Emerging(str(shared / "media"), frames=3)
    record = next(r for r in task.records() if r["id"] == "two-videos")
    (clip,) = (p for p in task.sample(record).messages[0].content if isinstance(p, il.Media))
    halves = [il.load_frames(shared / "media" / name, 3)[0] for name in record["videos"]]
    assert [f.tobytes() for f in clip.data] == [f.tobytes() for half in halves for f in half]


def test_replies_are_searched_for_what_they_must_mention() -> None:
    task = Emerging("nowhere")
    record = next(r for r in task.records() if r["id"] == "painters")
    assert task.score(record, "van gogh, and one by Picasso") == {"mentions": 1.0}
    assert task.score(record, "Van Gogh painted all") == {"mentions": 0.5}
    assert task.score(record, "") == {"mentions": 0.0}
    assert all(task.score(r, task.answer(r)) == {"mentions": 1.0} for r in task.records())


def test_media_that_are_not_there_are_named(tmp_path: Path) -> None:
    task = Emerging(str(tmp_path))
    record = next(r for r in task.records() if r["id"] == "two-videos")
    with pytest.raises(il.BadSample, match=r"lion1_\.mp4 does not exist"):
        task.sample(record)


def test_demonstrations_of_ones_own(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("[{id: a, kind: mine, images: [x.png], prompt: 'What?', mentions: [cat]}]")
    assert [r["id"] for r in Emerging("m", str(own)).records()] == ["a"]
    own.write_text("[{id: a, images: [x.png], prompt: 'What?', mentions: [cat]}]")
    with pytest.raises(il.InputError, match=r"item 0 of .* has no kind"):
        Emerging("m", str(own))
    with pytest.raises(il.InputError, match="cannot be read"):
        Emerging("m", str(tmp_path / "none.yaml"))
