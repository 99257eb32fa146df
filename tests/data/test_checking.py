"""The report names what is in a table and every picture, text and duplicate to look at."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from postsense.config import Columns
from postsense.data import checking
from postsense.data.checking import TableReport, check_posts
from postsense.data.loading import load_posts

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


def draw(path: Path, seed: int) -> str:
    blobs = np.random.default_rng(seed).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    Image.fromarray(blobs).resize((90, 80), Image.Resampling.BICUBIC).save(path)
    return path.name


def check(rows: list[dict[str, Any]], folder: Path) -> TableReport:
    path = folder / "posts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return check_posts(load_posts(path))


def animate(path: Path) -> None:
    frames = [Image.new("RGB", (20, 20), color) for color in ("red", "green", "blue")]
    frames[0].save(path, save_all=True, append_images=frames[1:])


def cut(path: Path) -> None:
    draw(path, 1)
    path.write_bytes(path.read_bytes()[:700])


def write_bomb(path: Path) -> None:
    Image.new("1", (10_000, 6_000)).save(path)


MAKERS: dict[str, tuple[str, Callable[[Path], object] | None, str, str]] = {
    "missing": ("gone.jpg", None, "missing", "expected a picture file, found no such file"),
    "text": ("a.jpg", lambda p: p.write_text("hello there"), "broken", "found a file that starts"),
    "empty": ("b.jpg", lambda p: p.touch(), "broken", "found an empty file"),
    "folder": ("c.jpg", lambda p: p.mkdir(), "broken", "found a folder"),
    "cut": ("d.jpg", cut, "broken", "expected a whole picture, found a damaged file"),
    "bomb": ("e.png", write_bomb, "oversized", "10000 x 6000 = 60 megapixels"),
    "phone": ("f.heic", lambda p: p.write_bytes(HEIC), "broken", "found a HEIC picture"),
    "animated": ("g.gif", animate, "animated", "3 frames"),
}


@pytest.mark.parametrize("name", MAKERS)
def test_a_picture_to_look_at_is_listed_with_id_path_kind_and_reason(
    name: str, tmp_path: Path
) -> None:
    file, make, kind, reason = MAKERS[name]
    if make is not None:
        make(tmp_path / file)
    rows: list[dict[str, Any]] = [{"id": "good", "image": draw(tmp_path / "ok.png", 5)}]
    rows.append({"id": "x", "image": file})
    report = check(rows, tmp_path)
    (problem,) = report.pictures
    assert (problem.id, problem.path, problem.kind) == ("x", str(tmp_path / file), kind)
    assert reason in problem.reason


def test_posts_are_counted_by_what_they_have(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"text": "words", "image": draw(tmp_path / "1.png", 1), "label": "a", "comments": ["x"]},
        {"text": "words", "label": "b", "comments": []},
        {"image": "gone.png"},
        {"text": " "},
    ]
    counts = check(rows, tmp_path).to_dict()["counts"]
    assert counts == {
        "posts": 4,
        "with_text": 2,
        "with_picture": 2,
        "with_both": 1,
        "with_neither": 1,
        "with_comments": 1,
        "labeled": 2,
    }


def test_a_table_without_optional_columns_is_counted_too(tmp_path: Path) -> None:
    report = check([{"text": "words"}], tmp_path)
    assert (report.counts.with_comments, report.counts.labeled, report.labels) == (0, 0, {})


def test_labels_are_counted_within_each_split_in_a_fixed_order(tmp_path: Path) -> None:
    found = [("b", "test"), ("a", None), ("b", "odd"), ("b", "dev"), ("b", "train"), ("a", "train")]
    found = [*found, found[4]]
    rows: list[dict[str, Any]] = [{"text": "t", "label": y, "split": split} for y, split in found]
    rows.append({"text": "t", "split": "train"})
    labels = check(rows, tmp_path).labels
    assert json.dumps(labels) == json.dumps(
        {
            "train": {"a": 1, "b": 2},
            "val": {"b": 1},
            "test": {"b": 1},
            "odd": {"b": 1},
            "no split": {"a": 1},
        }
    )


def test_posts_without_words_are_listed(tmp_path: Path) -> None:
    texts = {"a": " ", "b": "words", "c": None}
    rows = [{"id": post_id, "text": text} for post_id, text in texts.items()]
    assert check(rows, tmp_path).empty_texts == ("a", "c")


def test_duplicates_are_listed_with_splits_labels_and_reason(tmp_path: Path) -> None:
    text, picture = "the very same words", draw(tmp_path / "1.png", 1)
    rows = [
        {"id": "a", "text": text, "label": "x", "split": "train"},
        {"id": "b", "text": f"RT @me: {text}!", "label": "y", "split": "test", "image": picture},
        {"id": "c", "text": "alone with these words", "split": "train"},
        {"id": "d", "image": picture},
    ]
    (group,) = check(rows, tmp_path).duplicates
    assert group.ids == ("a", "b", "d")
    assert group.splits == ("train", "test", None)
    assert group.labels == ("x", "y", None)
    assert group.kinds == ("same text", "same picture")
    assert group.is_exact
    assert group.is_across_splits
    assert group.has_label_conflict


@pytest.mark.parametrize(
    ("splits", "labels", "across", "conflict"),
    [
        (("train", "train"), ("x", "x"), False, False),
        (("train", None), ("x", None), False, False),
        ((None, None), (None, None), False, False),
        ((None, "val"), ("x", "y"), True, True),
        (("val", "test"), (None, "y"), True, False),
    ],
)
def test_a_post_without_a_split_counts_as_train_and_without_a_label_as_no_conflict(
    splits: tuple[str | None, str | None],
    labels: tuple[str | None, str | None],
    across: bool,
    conflict: bool,
    tmp_path: Path,
) -> None:
    pairs = zip(splits, labels, strict=True)
    rows = [{"text": "the same four words", "split": s, "label": y} for s, y in pairs]
    (group,) = check(rows, tmp_path).duplicates
    assert (group.is_across_splits, group.has_label_conflict) == (across, conflict)


def test_a_saved_again_picture_is_a_near_duplicate(tmp_path: Path) -> None:
    draw(tmp_path / "1.png", 3)
    Image.open(tmp_path / "1.png").save(tmp_path / "1.jpg", quality=70)
    (group,) = check([{"image": "1.png"}, {"image": "1.jpg"}], tmp_path).duplicates
    assert group.kinds == ("similar picture",)
    assert not group.is_exact


def test_broken_and_blank_pictures_are_no_duplicates(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"nothing")
    Image.new("RGB", (50, 50), "white").save(tmp_path / "blank.png")
    rows = [{"image": name} for name in ("broken.png", "blank.png") * 2]
    assert check(rows, tmp_path).duplicates == ()


def test_the_report_is_json_and_its_counts_match_its_lists(tmp_path: Path) -> None:
    rows = [
        {"id": "a", "text": "the same four words", "split": "train", "label": "x"},
        {"id": "b", "text": "the same four words", "split": "test", "label": "y"},
        {"id": "c", "image": "gone.png"},
    ]
    report = json.loads(json.dumps(check(rows, tmp_path).to_dict(), allow_nan=False))
    assert report["name"] == str(tmp_path / "posts.jsonl")
    assert report["pictures"]["missing"] == len(report["pictures"]["listed"]) == 1
    assert report["empty_texts"] == {"posts": 1, "listed": ["c"]}
    listed = report["duplicates"].pop("listed")
    assert listed == [
        {
            "ids": ["a", "b"],
            "splits": ["train", "test"],
            "labels": ["x", "y"],
            "kinds": ["same text"],
        }
    ]
    counts = {"groups": 1, "posts": 2, "exact": 1, "near": 0}
    assert report["duplicates"] == {**counts, "across_splits": 1, "label_conflicts": 1}


def test_lines_say_the_same_to_people(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"id": n, "image": "gone.png", "label": "x"} for n in range(7)]
    rows += [{"id": f"d{n}", "text": "the same four words", "label": str(n)} for n in range(2)]
    path, reason = tmp_path / "gone.png", "expected a picture file, found no such file"
    assert check(rows, tmp_path).lines() == [
        "9 posts: 0 with text and picture, 2 with text only, 7 with picture only, 0 with neither; "
        "0 with comments; 9 labeled",
        "no split: 0 1, 1 1, x 7",
        "pictures: missing 7, broken 0, oversized 0, animated 0",
        *(f"  {n}: missing, {path}: {reason}" for n in range(5)),
        "  and 2 more",
        "empty texts: 7",
        *(f"  {n}" for n in range(5)),
        "  and 2 more",
        "groups of duplicates: 1, 1 exact and 0 near, 2 posts in all",
        "groups across splits: 0",
        "groups with different labels: 1",
        "  d0 (0), d1 (1): same text",
        "the English lexicon of blocks.lexical knows a word in 0% of the texts; features of feeling"
        " are zero for the others",
    ]


def test_a_picture_of_many_posts_is_read_once_and_reported_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads, lock = list[str](), threading.Lock()

    def read(path: str) -> bytes:
        with lock:
            reads.append(path)
        return b"broken"

    monkeypatch.setattr(checking, "read_picture", read)
    report = check([{"id": n, "image": "1.png"} for n in range(5)], tmp_path)
    assert reads == [str(tmp_path / "1.png")]
    assert [problem.id for problem in report.pictures] == ["0", "1", "2", "3", "4"]


def test_progress_counts_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "_BATCH", 2)
    seen: list[tuple[str, int, int]] = []
    posts = load_posts([{"image": f"{tmp_path}/{number}.png"} for number in range(3)])
    check_posts(posts, lambda step, done, total: seen.append((step, done, total)))
    assert seen == [("pictures", 2, 3), ("pictures", 3, 3)]


@pytest.mark.slow
@pytest.mark.real
def test_the_published_split_of_real_posts_leaks_duplicates_and_the_grouped_one_hardly(
    real_data: Path,
) -> None:
    path = real_data / "mvsa_single" / "posts.jsonl"
    report = check_posts(load_posts(path))
    grouped = load_posts(path, Columns(split="splits.grouped"))
    split_of = dict(zip(grouped.column("id"), grouped.column("split"), strict=True))
    groups = [{split_of[post_id] for post_id in group.ids} for group in report.duplicates]
    assert 70 <= sum(group.is_across_splits for group in report.duplicates) <= 80
    assert sum(len(splits) > 1 for splits in groups) <= 10


@pytest.mark.slow
@pytest.mark.real
def test_real_posts_have_no_broken_pictures(real_data: Path) -> None:
    for name in ("multioff", "caption_contest", "mediaeval16"):
        assert check_posts(load_posts(real_data / name / "posts.jsonl")).pictures == ()
