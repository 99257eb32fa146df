"""A command that fails before anything was trained leaves its folder free and as it was."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import Outcome
from postsense.config.loading import load_config
from postsense.data.loading import load_posts
from postsense.discovery import discover as discovery
from postsense.discovery.discover import SETTINGS, discover
from postsense.errors import DataError
from postsense.posts import Posts
from postsense.runs import training as runs
from postsense.runs.folder import fingerprint_splits, fingerprint_unlabeled
from postsense.runs.training import train_run
from postsense.training.fitting import split_for_method

CLI = Callable[..., Outcome]
TEXT_ONLY = ("--set", "fusion.name=text_only", "--set", "training.device=cpu")
REFUSED = {
    "a column": (
        ("train", "{table}", "--label", "lable", *TEXT_ONLY),
        "expected",
    ),
    "a column of words": (
        ("train", "{table}", "--set", "data.columns.text=tweet", *TEXT_ONLY),
        "tweet",
    ),
    "a setting": (
        ("train", "{table}", "--method", "self_training"),
        "a corpus for method=self_training",
    ),
    "a value": (("train", "{table}", "--set", "training.epochs=-1"), "training.epochs"),
    "a package": (("train", "{table}", "--method", "cluster_pseudo_labels", *TEXT_ONLY), "faiss"),
    "a corpus": (("train", "{table}", "--corpus", "{nowhere}"), "a corpus"),
    "pictures": (("train", "{lost}", "--preset", "image-only"), "unusable rows"),
    "a column of groups": (
        ("discover", "{table}", "--clusters", "3", "--labels", "lable"),
        "lable",
    ),
    "words of groups": (
        ("discover", "{table}", "--clusters", "3", "--set", "data.columns.text=tweet"),
        "tweet",
    ),
    "a setting of groups": (
        ("discover", "{table}", "--clusters", "3", "--set", "fusion.name=text_only"),
        "fusion.name",
    ),
    "a package of groups": (("discover", "{table}", "--clusters", "3"), "faiss"),
    "posts of groups": (("discover", "{lost}", "--clusters", "3"), "unusable rows"),
}


@pytest.fixture
def places(tmp_path: Path, post_rows: list[dict[str, Any]], posts_file: Path) -> dict[str, Path]:
    """Where tables are: a sound one, one whose pictures are lost, and nothing."""
    lost = tmp_path / "lost.jsonl"
    rows = [{**row, "image": f"/nowhere/{row['id']}.png"} for row in post_rows]
    lost.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return {"table": posts_file, "lost": lost, "nowhere": tmp_path / "nowhere"}


@pytest.mark.parametrize("lacking", REFUSED)
@pytest.mark.parametrize("there", [True, False], ids=["empty", "new"])
def test_a_run_that_is_refused_leaves_its_folder_as_it_was(
    lacking: str,
    there: bool,
    places: dict[str, Path],
    postsense: CLI,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words, found = REFUSED[lacking]
    out = tmp_path / "runs" / "first"
    if there:
        out.mkdir(parents=True)
    if "package" in lacking:
        monkeypatch.setitem(sys.modules, "faiss", None)
    outcome = postsense(*(word.format(**places) for word in words), "--out", out)
    assert outcome.code == 2 and found in outcome.err, outcome.err
    assert out.is_dir() == there
    assert not there or list(out.iterdir()) == []
    assert out.parent.is_dir() == there


def fail(*_: object, **__: object) -> None:
    raise DataError("posts", "some", "none")


@pytest.fixture
def posts(posts_file: Path) -> Posts:
    return load_posts(posts_file)


def test_a_run_that_fails_before_its_first_epoch_leaves_no_folder(
    posts: Posts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "fit_classifier", fail)
    config = load_config(values={"fusion.name": "text_only", "training.device": "cpu"})
    with pytest.raises(DataError):
        train_run(posts, config, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_discovery_that_fails_before_its_first_epoch_leaves_no_folder(
    posts: Posts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "new_model", fail)
    given = {"method": "cluster_pseudo_labels", "training.device": "cpu"}
    config = load_config(None, None, SETTINGS, {**given, "clustering.clusters": 3})
    with pytest.raises(DataError):
        discover(posts, config, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_fails_after_its_first_epoch_is_kept(
    posts: Posts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = {"training.epochs": 1, "training.device": "cpu"}
    config = load_config(values={"fusion.name": "text_only", **quick})
    with monkeypatch.context() as patch:
        patch.setattr(runs, "_measure", fail)
        with pytest.raises(DataError):
            train_run(posts, config, tmp_path / "run")
    assert (tmp_path / "run" / "config.json").is_file()
    assert (tmp_path / "run" / "seed-0" / "checkpoints").is_dir()
    train_run(posts, config, tmp_path / "run")
    assert (tmp_path / "run" / "seed-0" / "metrics.json").is_file()


ROWS = [
    {
        "id": f"p{number}",
        "text": f"words {number}" if number % 4 else None,
        "image": f"/pictures/{number}.png" if number % 3 else None,
        "label": "ab"[number % 2],
        "split": ("train", "train", "val", "test")[number % 4],
        "attributes": ["sky", "sea"],
        "regions": f"/regions/{number}.safetensors",
    }
    for number in range(1, 13)
]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"fusion.name": "concat"}, "e1d365c944bab7d2c52611251040b2db"),
        (
            {"fusion.name": "hierarchical", "encoders.image.name": "regions"},
            "9dd7fcfb431ed0c0c8affefdbec4ac15",
        ),
    ],
)
def test_a_run_that_an_earlier_version_started_is_known_by_its_posts(
    settings: dict[str, Any], expected: str
) -> None:
    config = load_config(values=settings)
    assert fingerprint_splits(split_for_method(load_posts(ROWS), None, config), config) == expected


def test_so_is_a_discovery() -> None:
    assert fingerprint_unlabeled(load_posts(ROWS)) == "de71da501ad1a8dcc0751899385e519d"
