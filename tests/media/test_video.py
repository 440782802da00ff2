"""Reading videos: the same frames from every reader, sampling, and what no file may do to a worker."""

import importlib.util
import time
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from small_models import small_config
from videos import FRAMES, number_of, rotate, write_sound, write_video

import interleave as il
from interleave.data.budget import Budget
from interleave.data.example_source import ExampleSource
from interleave.data.ledger import Ledger
from interleave.data.packed_loader import PackedLoader
from interleave.media import video_readers as readers
from interleave.media import videos as video
from interleave.media.video_readers import READERS
from interleave.media.videos import choose_frames, with_timeout
from interleave.model.assembly import assemble


def works(reader: str) -> bool:
    """torchcodec is an extra, and needs the system's ffmpeg."""
    if importlib.util.find_spec(reader if reader != "pyav" else "av") is None:
        return False
    try:
        if reader == "torchcodec":
            from torchcodec.decoders import VideoDecoder  # noqa: F401
    except (ImportError, RuntimeError, OSError):
        return False
    return True


INSTALLED = [
    pytest.param(name, marks=pytest.mark.skipif(not works(name), reason=f"{name} is not installed")) for name in READERS
]
every_reader = pytest.mark.parametrize("reader", INSTALLED)


def numbers(images: list[Any]) -> list[int]:
    return [number_of(np.asarray(i)) for i in images]


@every_reader
@pytest.mark.parametrize("count", [1, 4, 10, 50])
@pytest.mark.parametrize("group", [1, 6, 100])
def test_readers_give_uniform_frames_and_their_times(reader: str, count: int, group: int, tmp_path: Path) -> None:
    images, times = il.load_frames(write_video(tmp_path / "a.mp4", group=group), count, reader)
    wanted = il.uniform(FRAMES, count)
    assert numbers(images) == wanted
    assert times == pytest.approx([i / 10 for i in wanted])


@every_reader
def test_bytes_are_read_as_files_are(reader: str, tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4")
    assert numbers(il.load_frames(path.read_bytes(), 4, reader)[0]) == il.uniform(FRAMES, 4)


@every_reader
def test_what_lies_on_its_side_is_turned(reader: str, tmp_path: Path) -> None:
    upright = np.asarray(il.load_frames(write_video(tmp_path / "a.mp4"), 2, reader)[0][1])
    turned = np.asarray(il.load_frames(rotate(tmp_path / "a.mp4"), 2, reader)[0][1])
    assert upright[:, :12].max() < upright[:, 20:].min(), "the left half is darker"
    assert turned[:12].max() < turned[20:].min(), "a quarter turn clockwise puts it on top"


@every_reader
def test_a_variable_rate_keeps_its_own_clock(reader: str, tmp_path: Path) -> None:
    stamps = [0, 10, 20, 30, 200, 210, 400, 410]
    path = write_video(tmp_path / "a.mp4", frames=8, stamps=stamps)
    images, times = il.load_frames(path, 8, reader)
    assert numbers(images) == list(range(8))
    assert times == pytest.approx([s / 100 for s in stamps], abs=0.011)
    images, times = il.load_frames(path, 8, reader, sampling="fps", fps=1)
    assert numbers(images) == [0, 4, 6]


@every_reader
def test_keyframes(reader: str, tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", group=5)
    assert numbers(il.load_frames(path, 8, reader, sampling="keyframes")[0]) == [0, 5, 10, 15]
    assert numbers(il.load_frames(path, 2, reader, sampling="keyframes")[0]) == [0, 15]


def test_frames_a_second() -> None:
    times = [i / 30 for i in range(300)]
    assert choose_frames(times, [0], 99, "fps", 2) == list(range(0, 300, 15))
    assert choose_frames(times, [0], 4, "fps", 2) == [0, 90, 180, 285]
    assert choose_frames(times, [0], 99, "fps", 1000) == il.uniform(300, 99)


def test_folders_have_no_clock_and_no_key_frames(tmp_path: Path) -> None:
    frames = [np.full((4, 4, 3), i, np.uint8) for i in range(9)]
    shown = [np.asarray(i)[0, 0, 0] for i in il.load_frames(frames, 3, sampling="keyframes")[0]]
    assert shown == [0, 4, 8]
    assert il.load_frames(frames, 9, sampling="fps", fps=0.5)[1] == [0, 2, 4, 6, 8]


def test_only_what_leads_to_a_wanted_frame_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Key frames let PyAV skip; without them one pass is made and no second one."""
    turned: list[int] = []
    real = readers.PyAV._decode

    def counting(self: Any, container: Any, stream: Any, left: Any, found: Any) -> int:
        turned.append(len(left))
        return real(self, container, stream, left, found)

    monkeypatch.setattr(readers.PyAV, "_decode", counting)
    il.load_frames(write_video(tmp_path / "one.mp4", frames=60, group=1000), 4, "pyav")
    assert turned == [4]
    turned.clear()
    il.load_frames(write_video(tmp_path / "many.mp4", frames=60, group=5), 4, "pyav")
    assert turned == [4, 3, 2, 1]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"count": 0}, "shown with 0 frames"),
        ({"sampling": "fps"}, "needs fps above 0"),
        ({"sampling": "fps", "fps": -1}, "needs fps above 0"),
        ({"timeout": 0}, "must be above 0"),
        ({"reader": "vhs"}, "no video reader 'vhs'"),
    ],
)
def test_options_that_fit_no_file(options: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(il.InputError, match=told) as error:
        il.load_frames(write_video(tmp_path / "a.mp4"), **{"count": 2, **options})
    assert not isinstance(error.value, il.BadSample)


def test_a_reader_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "a.mp4")
    for name in ("decord", "torchcodec"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
        monkeypatch.setitem(__import__("sys").modules, f"{name}.decoders", None)
        with pytest.raises(il.InputError, match=f"reader '{name}'.*pyav"):
            il.load_frames(path, 2, name)


@every_reader
def test_files_that_are_no_videos(reader: str, tmp_path: Path) -> None:
    with pytest.raises(il.BadSample, match="has no video stream") as bad:
        il.load_frames(write_sound(tmp_path / "sound.wav"), 4, reader)
    assert bad.value.reason == "no video stream"
    for content in (b"", b"text", bytes(range(256)) * 20):
        (tmp_path / "x.mp4").write_bytes(content)
        with pytest.raises(il.BadSample) as bad:
            il.load_frames(tmp_path / "x.mp4", 4, reader)
        assert bad.value.reason == "broken video"
        assert "\n" not in str(bad.value)


@every_reader
def test_damaged_files_give_frames_or_a_reason(reader: str, tmp_path: Path) -> None:
    """Cut and bit-flipped in forty ways, none hangs, crashes or raises anything else."""
    whole = write_video(tmp_path / "a.mp4", group=5).read_bytes()
    rng, outcomes = np.random.default_rng(0), set()
    for trial in range(40):
        data = bytearray(whole)
        for at in rng.integers(0, len(data), 1 + trial % 7):
            data[at] ^= 1 << int(rng.integers(8))
        if trial % 4 == 0:
            data = data[: int(rng.integers(len(data)))]
        outcomes.add(outcome(bytes(data), reader))
    assert "frames" in outcomes
    assert len(outcomes) > 1
    assert outcomes <= {"frames", "broken video", "truncated video", "no video stream"}


def outcome(data: bytes, reader: str) -> str:
    try:
        return "frames" if il.load_frames(data, 4, reader, timeout=20)[0] else "nothing"
    except il.BadSample as bad:
        return bad.reason


def test_a_reader_that_hangs_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "_read_file", lambda *_: time.sleep(30))
    started = time.monotonic()
    with pytest.raises(il.BadSample, match=r"a.mp4 took longer than 0.2 s to read") as bad:
        il.load_frames(write_video(tmp_path / "a.mp4"), 4, timeout=0.2)
    assert bad.value.reason == "timeout"
    assert time.monotonic() - started < 5


def test_what_a_reader_raises_comes_through() -> None:
    with pytest.raises(ZeroDivisionError):
        with_timeout(5, lambda: 1 // 0, "x")


def test_a_file_that_was_cut_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "a.mp4", group=1)
    monkeypatch.setattr(readers, "MIN_SHARE_FOUND", 1.1)
    with pytest.raises(il.BadSample, match="claims 20 frames and holds 20"):
        il.load_frames(path, 4)
    monkeypatch.setattr(readers, "MIN_SHARE_FOUND", 0.9)
    clip = readers.PyAV(path, "a.mp4")
    clip.stamps = [stamp + 1 for stamp in clip.stamps]  # frames that never come
    with pytest.raises(il.BadSample, match=r"a.mp4: 2 of 2 frames do not decode"):
        clip.get([0, 4])


def test_times_are_written_before_frames(tmp_path: Path) -> None:
    adapter = il.modalities.build({"name": "video", "num_frames": 2, "times": True}, vision=il.VisionSpec(8, 2))
    layout = adapter.prepare(write_video(tmp_path / "a.mp4")).layout
    assert layout == ["0.0s ", 4, "1.9s ", 4]


def test_the_adapter_hands_its_options_on(tmp_path: Path) -> None:
    node = {"name": "video", "sampling": "fps", "fps": 2, "num_frames": 9}
    adapter = il.modalities.build(node, vision=il.VisionSpec(8, 2))
    assert len(adapter.prepare(write_video(tmp_path / "a.mp4")).pixel_values) == 4
    assert len(adapter.fewer(3).prepare(write_video(tmp_path / "a.mp4")).pixel_values) == 3  # type: ignore[union-attr]


@every_reader
@pytest.mark.parametrize("name", ["lion1_.mp4", "lion2_.mp4", "code.mp4", "xU25MMA2N4aVtYay.mp4"])
def test_real_clips(reader: str, name: str, shared: Path) -> None:
    if (reader, name) == ("decord", "code.mp4"):
        pytest.skip("decord shows frames that an edited file leaves out")
    images, times = il.load_frames(shared / "media" / name, 6, reader)
    expected, clock = il.load_frames(shared / "media" / name, 6, "pyav")
    assert times == clock
    assert len(images) == 6
    for one, other in zip(images, expected, strict=True):
        assert np.abs(np.asarray(one, float) - np.asarray(other, float)).mean() < 3


@every_reader
def test_a_real_broken_clip(reader: str, shared: Path) -> None:
    with pytest.raises(il.BadSample):
        il.load_frames(shared / "media" / "broken.mp4", 6, reader)


def write_without_frames(path: Path) -> Path:
    """A container with a video stream, and nothing in it."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        container.start_encoding()
    return path


@every_reader
def test_a_stream_of_no_length(reader: str, tmp_path: Path) -> None:
    with pytest.raises(il.BadSample) as bad:
        il.load_frames(write_without_frames(tmp_path / "a.mp4"), 4, reader)
    assert bad.value.reason in ("broken video", "no video stream")


@every_reader
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
def test_a_file_cut_in_its_frames(reader: str, kept: float, tmp_path: Path) -> None:
    """Its index stands in front, as in what is made for the web, so that it opens."""
    path = write_video(tmp_path / "a.mp4", frames=60, group=5)
    with av.open(str(path)) as whole, av.open(str(tmp_path / "b.mp4"), "w", options={"movflags": "faststart"}) as front:
        stream = front.add_stream_from_template(whole.streams.video[0])
        for packet in whole.demux(whole.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                front.mux(packet)
    data = (tmp_path / "b.mp4").read_bytes()
    begins = data.index(b"mdat")
    assert outcome(data, reader) == "frames"
    cut = data[: begins + int(kept * (len(data) - begins))]
    assert outcome(cut, reader) in ("truncated video", "broken video")


def conversation(name: str, *videos: Any) -> il.Sample:
    asked = [part for path in videos for part in (il.Media("video", path), "and")]
    return il.Sample([il.Message("user", asked), il.Message("assistant", [name])], name, "clips")


class Clips(il.Dataset):
    """Two good samples, one of them with two videos, and one of each kind of bad file."""

    def __init__(self, folder: Path) -> None:
        good = write_video(folder / "good.mp4")
        (folder / "empty.mp4").write_bytes(b"")
        (folder / "corrupt.mp4").write_bytes(bytes(range(256)) * 40)
        (folder / "cut.mp4").write_bytes(good.read_bytes()[:-400])
        bad = [folder / "empty.mp4", folder / "corrupt.mp4", folder / "cut.mp4", write_sound(folder / "sound.wav"),
               folder / "hangs.mp4", folder / "gone.mp4"]  # fmt: skip
        (folder / "hangs.mp4").write_bytes(good.read_bytes())
        rate = write_video(folder / "rate.mp4", frames=8, stamps=[0, 10, 20, 30, 200, 210, 400, 410])
        turned = rotate(write_video(folder / "turned.mp4"))
        self.samples = [conversation("one", good), conversation("two", rate, turned)]
        self.samples += [conversation(path.stem, path) for path in bad]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> il.Sample:
        return self.samples[index]

    def id(self, index: int) -> str:
        return self.samples[index].id


@pytest.mark.parametrize("num_workers", [0, 2])
def test_no_file_ends_a_run_or_a_worker(num_workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = readers.PyAV.get

    def hanging(self: Any, chosen: Any) -> Any:
        if "hangs" in self.name:
            time.sleep(60)
        return real(self, chosen)

    monkeypatch.setattr(readers.PyAV, "get", hanging)  # forked workers have it, too
    nodes = small_config()
    nodes["modality"]["video"] |= {"timeout": 3, "reader": "pyav"}
    assembly, ledger = assemble(nodes), Ledger()
    source = ExampleSource({"clips": Clips(tmp_path)}, assembly.adapters, assembly.model.llm.tokenizer, assembly.vision)
    loader = PackedLoader(source, Budget(120, 1, 16, lookahead=1), 0, num_workers, ledger=ledger)
    started, text = time.monotonic(), ""
    for batch in islice(loader, 30):
        text += assembly.model.llm.tokenizer.decode(batch.labels[batch.labels >= 0].tolist())
        if len(ledger.entries) == 6 and "one" in text and "two" in text:
            break
    assert time.monotonic() - started < 55, "the reader slept for 60 s"
    assert {(e.id, e.reason) for e in ledger.entries} == {
        ("empty", "broken video"), ("corrupt", "broken video"), ("cut", "broken video"), ("sound", "no video stream"),
        ("hangs", "timeout"), ("gone", "missing file"),
    }  # fmt: skip
