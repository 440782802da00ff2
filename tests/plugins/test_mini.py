"""The quickstart's data: true, deterministic, and legible only where it should be."""

import math
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from interleave_plugins.dataset.base.mini_drawings import (
    CELL,
    CELLS,
    COLOURS,
    HELD_OUT,
    MOVES,
    ORDINALS,
    SCENARIOS,
    SHARES,
    SIDE,
    SPLITS,
    Scene,
)
from interleave_plugins.dataset.mini import Mini, make
from interleave_plugins.task.mini import MiniTask
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import LogisticRegression

import interleave as il
from interleave.data.annotations import read_json


def scenes(scenario: str, split: str = "test", count: int = 60) -> list[Scene]:
    return [SCENARIOS[scenario](np.random.default_rng([7, i]), split) for i in range(count)]


def colour_at(picture: NDArray[np.uint8], cell: int) -> str | None:
    middle = picture[cell // SIDE * CELL + CELL // 2, cell % SIDE * CELL + CELL // 2].astype(int)
    return next((name for name, rgb in COLOURS.items() if np.abs(middle - rgb).max() < 3), None)


def squares(picture: NDArray[np.uint8]) -> dict[str, int]:
    found = {colour_at(picture, cell): cell for cell in range(SIDE * SIDE)}
    return {c: cell for c, cell in found.items() if c is not None}


def test_single_images_are_told_truly() -> None:
    for scene in scenes("single_image"):
        ((colour, cell),) = squares(scene.pictures[0]).items()
        assert {q.form: q.answer for q in scene.questions} == {"colour": colour, "where": CELLS[cell]}


def test_differences_between_images_are_told_truly() -> None:
    for scene in scenes("multi_image"):
        found = [squares(p) for p in scene.pictures]
        for q in scene.questions:
            if q.form == "which":
                assert q.answer == ORDINALS[[bool(f) for f in found].index(True)]
                assert sum(map(bool, found)) == 1
            else:
                first, second = found
                (new,) = set(second) - set(first)
                assert q.answer == CELLS[second[new]]


def test_motion_and_order_are_told_truly() -> None:
    for scene in scenes("video"):
        bright = [np.argwhere(p.max(-1) > 100).mean(0) for p in scene.pictures]
        step = bright[-1] - bright[0]
        answers = {q.form: q.answer for q in scene.questions}
        assert np.sign(np.round(step / 10)).astype(int).tolist() == list(MOVES[answers["direction"]])
        row, col = bright[0].astype(int)
        assert np.abs(scene.pictures[0][row, col].astype(int) - COLOURS[answers["order"]]).max() < 3


def test_positions_in_space_are_told_truly() -> None:
    for scene in scenes("scene3d"):
        (front,), (side,) = (squares(p).values() for p in scene.pictures)
        x, y, z = front % SIDE, side % SIDE, SIDE - 1 - front // SIDE
        assert SIDE - 1 - side // SIDE == z, "both views agree on the height"
        answers = {q.form: q.answer for q in scene.questions}
        assert answers["position"] == f"{x}{y}{z}"
        assert answers["missing_view"] == CELLS[y * SIDE + x]


def test_digits_are_legible_in_the_tiles_and_not_in_the_overview() -> None:
    """A linear classifier reads the plates at full size and guesses them at half size, as an adapter resizes them."""
    full, half, labels = [], [], []
    for i in range(2400):
        scene = SCENARIOS["multi_patch"](np.random.default_rng([3, i]), "train")
        answers = {q.form: q.answer for q in scene.questions}
        if "digit" in answers:
            picture = scene.pictures[0]
            row, col = (np.argwhere(picture.mean(-1) > 60)[:, k].min() // CELL for k in (0, 1))
            small = np.asarray(il.load_image(picture).resize((32, 32), Image.Resampling.BICUBIC))
            full.append(picture[row * 8 : row * 8 + 8, col * 8 : col * 8 + 8, 0].ravel() / 128)
            half.append(small[row * 4 : row * 4 + 4, col * 4 : col * 4 + 4, 0].ravel() / 128)
            labels.append(int(answers["digit"]))
    cut = len(labels) * 3 // 4
    accuracy = [
        LogisticRegression(max_iter=500).fit(x[:cut], labels[:cut]).score(x[cut:], labels[cut:]) for x in (full, half)
    ]
    assert accuracy[0] > 0.85
    assert accuracy[1] < 0.35


def test_splits_share_no_file_and_no_scene(tmp_path: Path) -> None:
    folder = make(tmp_path, 4, 0)
    media = {s: {p for r in read_json(folder / f"{s}.json") for p in (r.get("image") or [r["video"]])} for s in SPLITS}
    assert all(media.values())
    assert not media["train"] & media["test"]
    pictures = {s: {p.read_bytes() for p in (folder / "media" / s).iterdir()} for s in SPLITS}
    assert not pictures["train"] & pictures["test"]
    assert not pictures["train"] & pictures["validation"]


def test_the_same_seed_makes_the_same_files(tmp_path: Path) -> None:
    one, two, other = make(tmp_path / "a", 2, 0), make(tmp_path / "b", 2, 0), make(tmp_path / "a", 2, 1)
    names = sorted(p.relative_to(one) for p in one.rglob("*") if p.is_file())
    assert names
    assert all((one / n).read_bytes() == (two / n).read_bytes() for n in names)
    assert (one / "train.json").read_bytes() != (other / "train.json").read_bytes()


def test_the_held_out_form_is_asked_in_the_test_split_alone(tmp_path: Path) -> None:
    folder = make(tmp_path, 12, 0)
    forms = {
        s: {(r["metadata"]["scenario"], r["metadata"]["form"]) for r in read_json(folder / f"{s}.json")} for s in SPLITS
    }
    assert HELD_OUT in forms["test"]
    assert HELD_OUT not in forms["train"] | forms["validation"]
    told = [t["value"] for r in read_json(folder / "train.json") for t in r["conversations"]]
    assert any("Which colour?" in t for t in told), "the same question is trained in another scenario"
    for record in read_json(folder / "train.json"):
        if record["metadata"]["scenario"] == HELD_OUT[0]:
            assert not any("colour" in t["value"] for t in record["conversations"])


def test_scenarios_can_be_chosen(tmp_path: Path) -> None:
    chosen = Mini(str(tmp_path), 3, ["video"])
    assert len(chosen) == math.ceil(3 * SHARES["video"])
    assert {p.kind for p in chosen[0].messages[0].content if isinstance(p, il.Media)} == {"video"}
    validation = chosen.validation()
    assert validation is not None
    assert len(validation) > 0


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> MiniTask:
    return MiniTask(str(tmp_path_factory.mktemp("mini")), 2, control_items=100)


def test_an_oracle_scores_one_and_chance_is_what_a_constant_earns(task: MiniTask) -> None:
    right: dict[str, list[float]] = defaultdict(list)
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    chance: dict[str, float] = {}
    for record in task.records():
        if task.condition(record) == "as it is":
            group = task.group(record)
            right[group].append(task.score(record, task.answer(record))["accuracy"])
            counts[group][task.answer(record)] += 1
            chance[group] = task.chance(record) or 0
    assert all(all(scores) for scores in right.values())
    for group, answers in counts.items():
        if not group.endswith("digits"):
            best = max(answers.values()) / sum(answers.values())
            assert chance[group] == pytest.approx(best, abs=0.13), group


def test_controls_change_the_pictures_and_nothing_else(task: MiniTask) -> None:
    records = task.records()
    plain = {r["id"]: r for r in records if r["condition"] == "as it is"}
    for record in records:
        if record["condition"] == "as it is":
            continue
        before, after = task.sample(plain[record["id"]]), task.sample(record)
        words = [[p for p in s.messages[0].content if isinstance(p, str)] for s in (before, after)]
        assert words[0] == words[1]
        media = [p for p in after.messages[0].content if isinstance(p, il.Media)]
        if record["condition"] == "blank":
            pictures = [p for m in media for p in (m.data if isinstance(m.data, list) else [m.data])]
            assert not any(np.asarray(p).any() for p in pictures)
        elif record["metadata"]["scenario"] == "multi_image":
            was = [p for p in before.messages[0].content if isinstance(p, il.Media)]
            assert media == was[::-1]


def test_reading_several_digits_is_scored_by_the_digit(task: MiniTask) -> None:
    record = next(r for r in task.records() if r["metadata"]["form"] == "digits")
    answer = task.answer(record)
    wrong = answer[:3] + ("1" if answer[3] != "1" else "2")
    assert task.score(record, wrong) == {"accuracy": 0.75}
    assert task.score(record, answer[:2]) == {"accuracy": 0.5}
    assert task.score(record, answer + "7") == {"accuracy": 0.0}


def test_pictures_may_stand_within_a_sentence(tmp_path: Path) -> None:
    plain = Mini(str(tmp_path), 4, ["multi_image"])
    within = Mini(str(tmp_path), 4, ["multi_image"], within=True)
    for one, other in zip(plain, within, strict=True):
        before, after = one.messages[0].content, other.messages[0].content
        assert [p for p in before if isinstance(p, il.Media)] == [p for p in after if isinstance(p, il.Media)]
        words = "".join(p if isinstance(p, str) else "|" for p in after)
        asked = "".join(p for p in before if isinstance(p, str))
        assert words in (f"First |, second |: {asked}", f"First |, second |, third |: {asked}")
    single = Mini(str(tmp_path), 4, ["single_image"], within=True)
    assert single[0] == Mini(str(tmp_path), 4, ["single_image"])[0]
    asked = MiniTask(str(tmp_path), 4, controls=[], scenarios=["multi_image"], within=True)
    assert {r["metadata"]["scenario"] for r in asked.records()} == {"multi_image"}
    assert asked.sample(asked.records()[0]).messages[0].content[0] == "First "


def test_a_scenario_that_there_is_not_is_named(tmp_path: Path) -> None:
    with pytest.raises(il.InputError, match=r"no scenario 'vidoe'; did you mean 'video'"):
        Mini(str(tmp_path), 4, ["vidoe"])
