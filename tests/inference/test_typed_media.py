"""Words of a question that are paths, and words that are not."""

from pathlib import Path

import pytest
from PIL import Image

import interleave as il
from interleave.core.sample import Media
from interleave.inference.typed_media import PICTURE, parse_media, split_media

MODALITIES = ("image", "video", "scene3d")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with pictures, a clip, a text and a folder of frames."""
    monkeypatch.chdir(tmp_path)
    for name in ("photo.avif", "photo.jfif", "my photo.png", "photo.PNG", "é=1,2.png"):
        Image.new("RGB", (40, 30), "red").save(name, format=None if name.endswith(("avif", "png", "PNG")) else "JPEG")
    for name in ("clip.mpg", "notes.txt", "README", "photo.heic"):
        Path(name).write_bytes(b"x")
    Path("docs").mkdir()
    Path("frames").mkdir()
    return tmp_path


@pytest.mark.parametrize("word", ["", "/", ".", "..", "docs", "README", "e.g.", "and/or", "1.5", "9:30", "why?", ".png",
                                  "image:", "https://a.b/c.png", "x" * 5000, "a\0b"])  # fmt: skip
def test_words_are_no_paths(word: str) -> None:
    assert parse_media(word, MODALITIES) is None


@pytest.mark.parametrize(("word", "kind"), [
    ("photo.avif", PICTURE), ("photo.jfif", PICTURE), ("photo.PNG", PICTURE), ("my photo.png", PICTURE),
    ("clip.mpg", "video"), ("./photo.avif", PICTURE), ("video:frames", "video"), ("scene3d:docs", "scene3d"),
    ("image:photo.heic", "image"),
])  # fmt: skip
def test_paths_are_media(word: str, kind: str) -> None:
    piece = parse_media(word, MODALITIES)
    assert piece is not None
    assert piece.kind == kind
    assert isinstance(piece.data, Path)
    assert piece.data.exists()


@pytest.mark.parametrize(("word", "message"), [
    ("nowhere.png", "nowhere.png does not exist"), ("image:nowhere", "nowhere does not exist"),
    ("clip.mp4", "clip.mp4 does not exist"), ("photo.heic", "a kind that is not known here"),
    ("lost.heic", "a kind that is not known here"), ("notes.txt", "a kind that is not known here"),
    ("./README", "a kind that is not known here"), ("./docs", "is a folder; put in front what it holds"),
    ("docs/", "is a folder"),
])  # fmt: skip
def test_what_looks_like_media_and_is_not_is_said(word: str, message: str) -> None:
    with pytest.raises(il.InputError, match=message):
        parse_media(word, MODALITIES)


@pytest.mark.parametrize(("line", "text", "names"), [
    ("Hello  world", "Hello  world", []),
    ("What is in photo.avif?", "What is in <image>?", ["photo.avif"]),
    ("(photo.avif), then clip.mpg: what?", "(<image>), then <image>: what?", ["photo.avif", "clip.mpg"]),
    ('Is "my photo.png" red?', "Is <image> red?", ["my photo.png"]),
    (r"Is my\ photo.png red?", "Is <image> red?", ["my photo.png"]),
    ('Say "no such.png" aloud', 'Say "no such.png" aloud', []),
    ("don't  mix up docs and / here", "don't  mix up docs and / here", []),
    ("Is é=1,2.png new?", "Is <image> new?", ["é=1,2.png"]),
    ("<image> and <image>", "<image> and <image>", []),
])  # fmt: skip
def test_lines_keep_what_is_no_path(line: str, text: str, names: list[str]) -> None:
    said, media = split_media(line, MODALITIES)
    assert said == text
    assert [piece.data for piece in media] == [Path(name) for name in names]
    assert all(isinstance(piece, Media) for piece in media)


def test_media_beside_a_line_stand_at_its_placeholders_or_in_front() -> None:
    given = [Media("image", "a"), Media("image", "b")]
    assert split_media("<image> and <image> or photo.PNG", MODALITIES, given) == (
        "<image> and <image> or <image>",
        [*given, Media(PICTURE, Path("photo.PNG"))],
    )
    text, media = split_media("photo.PNG or?", MODALITIES, given)
    assert (text, media) == ("<image><image><image> or?", [*given, Media(PICTURE, Path("photo.PNG"))])
    assert split_media("Which?", MODALITIES, given) == ("Which?", given)
