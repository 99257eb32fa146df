import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from postsense.data.images import PicturePolicy, decode_picture, read_picture
from postsense.data.synthetic import SyntheticOptions, write_synthetic_posts
from postsense.errors import DataError


def read_rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def digest(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    parts = [str(path.relative_to(folder)).encode() + path.read_bytes() for path in files]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def brightness(folder: Path, row: dict[str, Any]) -> float:
    with Image.open(folder / row["image"]) as picture:
        return float(np.asarray(picture).mean())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthetic_posts(tmp_path_factory.mktemp("posts"), posts=300).parent


@pytest.fixture(scope="module")
def rows(folder: Path) -> list[dict[str, Any]]:
    return read_rows(folder / "posts.jsonl")


def test_the_label_follows_from_picture_and_words_together(rows: list[dict[str, Any]]) -> None:
    meaning = {
        ("outside", "fair"): "positive",
        ("outside", "foul"): "negative",
        ("inside", "fair"): "negative",
        ("inside", "foul"): "positive",
    }
    for row in rows:
        truth = row["truth"]
        assert row["label"] == meaning.get((truth["stance"], truth["scene"]), "neutral")


def test_neither_weather_nor_stance_alone_tells_the_opinion(rows: list[dict[str, Any]]) -> None:
    opinions = [row for row in rows if row["label"] != "neutral"]
    for clue in ("scene", "stance"):
        pairs = Counter((row["truth"][clue], row["label"]) for row in opinions)
        for value in {value for value, _ in pairs}:
            positive, negative = pairs[value, "positive"], pairs[value, "negative"]
            assert 0.2 < positive / (positive + negative) < 0.8


def test_the_pictures_show_the_weather_unless_in_fog(
    folder: Path, rows: list[dict[str, Any]]
) -> None:
    visible = [row for row in rows if row["truth"]["scene_visible"]]
    fair = [brightness(folder, row) for row in visible if row["truth"]["scene"] == "fair"]
    foul = [brightness(folder, row) for row in visible if row["truth"]["scene"] == "foul"]
    assert min(fair) > max(foul)


def test_fog_hides_the_weather(tmp_path: Path) -> None:
    path = write_synthetic_posts(tmp_path, 100, options=SyntheticOptions(picture_noise=1))
    levels: dict[str, list[float]] = {"fair": [], "foul": []}
    for row in read_rows(path):
        levels[row["truth"]["scene"]].append(brightness(tmp_path, row))
    fair, foul = np.array(levels["fair"]), np.array(levels["foul"])
    assert abs(fair.mean() - foul.mean()) < 0.5 * fair.std()


def test_linking_comments_say_what_the_picture_shows(rows: list[dict[str, Any]]) -> None:
    words = {"fair": ("sun", "blue sky"), "foul": ("rain", "storm", "pouring")}
    opinions = [row for row in rows if row["label"] != "neutral"]
    for row in opinions:
        said = " ".join(row["comments"])
        for weather, signs in words.items():
            expected = row["truth"]["comment_link"] and row["truth"]["scene"] == weather
            assert any(sign in said for sign in signs) == expected


@pytest.mark.parametrize("share", [0, 1])
def test_the_options_set_the_shares(tmp_path: Path, share: float) -> None:
    options = SyntheticOptions(picture_noise=share, informative_comments=share)
    truths = [row["truth"] for row in read_rows(write_synthetic_posts(tmp_path, 40, 1, options))]
    assert {truth["scene_visible"] for truth in truths} == {share == 0}
    assert {truth["comment_link"] for truth in truths} == {share == 1}


def test_a_post_may_lack_text_or_picture_and_never_both(tmp_path: Path) -> None:
    options = SyntheticOptions(missing_fraction=0.5)
    rows = read_rows(write_synthetic_posts(tmp_path, 100, options=options))
    missing = Counter((row["text"] is None, row["image"] is None) for row in rows)
    assert 15 <= missing[True, False] <= 35
    assert 15 <= missing[False, True] <= 35
    assert missing[True, True] == 0


def test_every_split_holds_its_share_of_every_label(rows: list[dict[str, Any]]) -> None:
    totals = Counter(row["label"] for row in rows)
    parts = Counter((row["split"], row["label"]) for row in rows)
    assert set(totals) == {"positive", "negative", "neutral"}
    for label, total in totals.items():
        for split, share in (("train", 0.6), ("val", 0.2), ("test", 0.2)):
            assert abs(parts[split, label] - share * total) <= 1


@pytest.mark.parametrize("seed", range(5))
def test_thirty_posts_are_enough_for_all_labels_in_all_splits(tmp_path: Path, seed: int) -> None:
    rows = read_rows(write_synthetic_posts(tmp_path, 30, seed))
    assert len({(row["split"], row["label"]) for row in rows}) == 9


def test_posts_are_complete_and_their_pictures_good(
    folder: Path, rows: list[dict[str, Any]]
) -> None:
    assert len({row["id"] for row in rows}) == len(rows) == 300
    assert len({row["text"] for row in rows}) > 290
    assert sorted(row["created_at"] for row in rows) == [row["created_at"] for row in rows]
    for row in rows[::10]:
        assert "{" not in row["text"] + "".join(row["comments"])
        data = read_picture(str(folder / row["image"]))
        assert decode_picture(data, row["image"], PicturePolicy()).std() > 3


def test_the_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    first, second, other = (tmp_path / name for name in ("first", "second", "other"))
    write_synthetic_posts(first, 40, seed=3)
    write_synthetic_posts(second, 40, seed=3)
    write_synthetic_posts(other, 40, seed=4)
    assert digest(first) == digest(second) != digest(other)


def test_too_few_posts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"posts: expected at least 30, found 29\. Ask for more"):
        write_synthetic_posts(tmp_path, posts=29)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_share_outside_its_range_is_refused(tmp_path: Path, share: float) -> None:
    with pytest.raises(DataError, match=r"picture_noise: expected a share in \[0, 1\], found"):
        write_synthetic_posts(tmp_path, options=SyntheticOptions(picture_noise=share))
