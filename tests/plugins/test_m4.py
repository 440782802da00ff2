"""M4-Instruct: the table, the defects, shares and caps, and a stand-in for all 41 data sets."""

import json
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import m4_stand_in as standin
import pytest
import yaml
from interleave_plugins.dataset.base.m4_sets import DOMAINS, TABLE, TASKS, set_of
from small_models import ROOT, small_config

import interleave as il
from interleave.cli import main
from interleave.compose import compose
from interleave.data.build import build_data
from interleave.model.assembly import assemble


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("m4")
    standin.write(root, 1000)
    return root


def m4(release: Path, **options: Any) -> Any:
    node = {
        "name": "m4_instruct",
        "root": str(release),
        "single_image": str(release / "llava_next_sft.json"),
        **options,
    }
    return il.datasets.build(node)


def test_the_table_is_the_papers(shared: Path) -> None:
    published = yaml.safe_load((shared / "reference" / "m4_instruct.yaml").read_text())["domains"]
    ours = Counter((e.domain, e.task, e.expected) for e in TABLE.values())
    assert len(TABLE) == 41
    assert ours == Counter(
        (domain, task, round(1000 * entry["samples_k"]))
        for domain, tasks in published.items()
        for task, sets in tasks.items()
        for entry in sets.values()
    )
    assert (len(DOMAINS), len(TASKS), sum(e.expected for e in TABLE.values())) == (4, 14, 1_177_600)


def test_the_stand_in_has_the_tables_proportions(release: Path) -> None:
    sources = m4(release).sources("m4")
    assert list(sources) == list(TABLE)
    total = sum(len(s) for s in sources.values())
    for key in ("domain", "task"):
        found, expected = Counter[str](), Counter[str]()
        for name, source in sources.items():
            found[getattr(TABLE[name], key)] += len(source)
            expected[getattr(TABLE[name], key)] += TABLE[name].expected
        for name, count in expected.items():
            assert found[name] / total == pytest.approx(count / 1_177_600, abs=0.01), name


def test_every_sample_of_the_stand_in_renders(release: Path) -> None:
    config = compose(
        "train", ["dataset=m4_instruct", f"dataset.m4_instruct.root={release}", "data.sequence_length=9000"]
    )
    assembly = assemble({**config, **small_config()})
    source = build_data(
        {**config, "dataset": {"m4_instruct": {"name": "m4_instruct", "root": str(release)}}}, assembly
    ).train.source
    for name, dataset in source.datasets.items():
        for i in range(len(dataset)):
            example = source.example(name, i)
            assert not isinstance(example, il.InputError), f"{name}[{i}]: {example}"
            assert bool(example.notes) == (name == "MMChat_Twitter_Post")


def test_known_defects_are_repaired_and_named(release: Path) -> None:
    part = m4(release).sources("m4")["MMChat_Twitter_Post"]
    sample = part[0]
    assert [t.role for t in sample.messages] == ["user", "assistant"]
    assert [n.reason for n in sample.notes] == ["swapped roles", "one placeholder for several images"]
    shown = [p for p in sample.messages[0].content if isinstance(p, il.Media)]
    assert len(shown) == len(part.records[int(part.rows[0])]["image"]) > 1


def test_refusals_may_be_left_out(release: Path) -> None:
    kept, dropped = (m4(release, refusals=r).sources("m4")["MMChat_Twitter_Post"] for r in ("keep", "drop"))
    said = [str(s.messages[-1].content[0]) for s in (kept[i] for i in range(len(kept)))]
    assert len(kept) - len(dropped) == sum("can't assist" in text for text in said) > 0
    assert len(m4(release, refusals="drop").sources("m4")["Raven"]) == len(m4(release).sources("m4")["Raven"])


def test_parts_can_be_chosen(release: Path) -> None:
    assert set(m4(release, only=["Raven", "NLVR2"]).sources("m4")) == {"Raven", "NLVR2"}
    frames = m4(release, domains=["multi_frame"]).sources("m4")
    assert {TABLE[name].domain for name in frames} == {"multi_frame"}
    assert len(frames) == 4


def test_shares_caps_and_weights(release: Path) -> None:
    whole = m4(release, share={"single_image": 1.0}).sources("m4")["LLaVA-NeXT-SFT"]
    assert len(m4(release).sources("m4")["LLaVA-NeXT-SFT"]) == round(0.4 * len(whole))
    some = m4(release, share={"multi_frame": 0.5, "STAR": 1.0}, caps={"Raven": 3}, weights={"multi_view": 2.0}, seed=1)
    sources, every = some.sources("m4"), m4(release).sources("m4")
    assert len(sources["ShareGPTVideo-VQA"]) == round(0.5 * len(every["ShareGPTVideo-VQA"]))
    assert len(sources["STAR"]) == len(every["STAR"])
    assert len(sources["Raven"]) == 3
    assert (sources["ScanQA"].weight, sources["Raven"].weight) == (2.0, 1.0)
    assert set(sources["Raven"].rows) <= set(every["Raven"].rows)
    other = m4(release, caps={"Raven": 3}, seed=2).sources("m4")["Raven"]
    assert list(other.rows) != list(sources["Raven"].rows)


def test_views_and_frames_may_be_one_scene_or_one_video(release: Path) -> None:
    sources = m4(release, views_as="scene3d", frames_as="video").sources("m4")
    scene = [p for p in sources["ScanQA"][0].messages[0].content if isinstance(p, il.Media)]
    assert [p.kind for p in scene] == ["scene3d"]
    assert len(scene[0].data) > 1
    (clip,) = [p for p in sources["NExT-QA"][0].messages[0].content if isinstance(p, il.Media)]
    assert clip.kind == "video"
    assert len(clip.data) == standin.FRAMES
    assert len([p for p in m4(release).sources("m4")["NExT-QA"][0].messages[0].content if isinstance(p, il.Media)]) == 8


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"only": ["Ravn"]}, "no data set 'Ravn'; did you mean 'Raven'"),
        ({"domains": ["video"]}, "no domain 'video'"),
        ({"share": {"single": 0.4}}, "no data set, task or domain 'single'; did you mean 'single_image'"),
        ({"share": {"Raven": 0}}, "the share of Raven is 0"),
        ({"share": {"Raven": 1.5}}, "the share of Raven is 1.5"),
        ({"caps": {"multi_view": 0}}, "the cap of multi_view is 0"),
        ({"weights": {"Raven": 0}}, "the weight of Raven is 0"),
        ({"only": []}, "choose nothing"),
        ({"media": "nowhere"}, "nowhere is no folder"),
        ({"annotations": ["nowhere.json"]}, "nowhere.json does not exist"),
    ],
)
def test_what_is_not_there(options: dict[str, Any], told: str, release: Path) -> None:
    with pytest.raises(il.InputError, match=told):
        m4(release, **options)


def test_names_are_known_however_they_are_written() -> None:
    assert set_of({"metadata": {"dataset": "RAVEN"}}, "") == "Raven"
    assert set_of({"metadata": {"dataset": "iconqa"}}, "") == "IconQA"
    assert set_of({"metadata": {"dataset": "something new"}}, "") == "something new"
    caption = {"video": "x", "conversations": [{"value": "<image>\nDescribe the clip in detail."}]}
    assert set_of(caption, "m4_instruct_video.json") == "ShareGPTVideo-Caption"
    assert set_of({"video": "x"}, "other.json") == "ShareGPTVideo-VQA"


def test_the_real_records_train(shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Defects are repaired and named, every broken line but the last lands in the ledger with its reason."""
    folder = shared / "data" / "m4_real_mini"
    files = [f"dataset.m4_instruct.root={folder}", f"dataset.m4_instruct.media={shared}/media",
             "dataset.m4_instruct.annotations=[annotations.json,videos.json]",
             f"dataset.llava_json.path={folder}/broken.json", f"dataset.llava_json.media={shared}/media"]  # fmt: skip
    small = [
        "trainer.max_steps=4",
        "data.sequence_length=2000",
        "callbacks.progress=null",
        "modality.video.num_frames=4",
    ]
    assert main(["train", "dataset=[m4_instruct,llava_json]", *files, *small, f"run={tmp_path}/run"]) == 0
    entries = [json.loads(line) for line in (tmp_path / "run/ledger.jsonl").read_text().splitlines()]
    found = {(e["source"], e["id"], e["reason"], e["action"]) for e in entries}
    reasons = ["missing file", "broken image", "not an image", "placeholders", "path outside media", "empty answer",
               "no turns", "unknown role"]  # fmt: skip
    assert found == {
        ("MMChat_Twitter_Post", "0", "swapped roles", "repaired"),
        ("MMChat_Twitter_Post", "0", "one placeholder for several images", "repaired"),
        ("llava_json", "broken-video", "broken video", "replaced"),
        *(("llava_json", str(i), reason, "replaced") for i, reason in enumerate(reasons)),
    }
    said = capsys.readouterr().out
    assert "9 samples lost" in said
    assert "1 sample repaired: 1 swapped roles, 1 one placeholder for several images" in said


def test_a_quarter_of_the_mixture_is_as_mixed_as_the_whole(release: Path) -> None:
    config = compose("train", ["dataset=m4_instruct", f"dataset.m4_instruct.root={release}"])
    loader = build_data({**config, **small_config()}, assemble({**config, **small_config()})).train
    places = loader.mixture.total // 4
    seen = Counter(TABLE[loader.mixture.names[loader.mixture.source(p)]].domain for p in range(places))
    whole = Counter(TABLE[loader.mixture.names[loader.mixture.source(p)]].domain for p in range(loader.mixture.total))
    for domain, count in whole.items():
        assert seen[domain] / places == pytest.approx(count / loader.mixture.total, abs=0.08)
    assert len(list(islice(loader, 2))) == 2


def test_the_page_on_data_has_every_data_set_and_option() -> None:
    page = (ROOT / "docs/data.md").read_text()
    for name, entry in TABLE.items():
        (line,) = [text for text in page.splitlines() if f"| `{name}` |" in text]
        assert f"| {entry.expected:,} |" in line
        assert all(folder in line for folder in entry.folders)
    for option in il.datasets.options("m4_instruct"):
        assert f"`{option}`" in page, option
