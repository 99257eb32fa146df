"""What makes a run another one: a table, splits or a corpus that differ in anything it reads."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corpus.made_posts import build, row, tiny_settings
from postsense.config import Config
from postsense.config.loading import load_config
from postsense.data.loading import load_posts
from postsense.errors import RunError
from postsense.runs.folder import describe_run, mark_run, refuse_taken
from postsense.training.fitting import split_for_method

Rows = list[dict[str, Any]]
HIERARCHICAL = {"fusion.name": "hierarchical"}
REGIONS = {"encoders.image.name": "regions"}


@pytest.fixture
def rows() -> Rows:
    """Six posts; no file that they name is opened."""
    return [
        {
            "id": f"p{number}",
            "text": f"text {number}",
            "image": f"/pictures/{number}.jpg",
            "regions": f"/regions/{number}.safetensors",
            "attributes": ["tree", f"house {number}"],
            "label": "ab"[number % 2],
            "split": "train" if number < 4 else "val",
        }
        for number in range(6)
    ]


def described(rows: Rows, config: Config) -> dict[str, Any]:
    return describe_run(config, split_for_method(load_posts(rows), None, config))


def refuse_resumed(folder: Path, config: Config, first: dict[str, Any], other: Any) -> None:
    """Go on with another fingerprint in a folder where something was trained."""
    settings = config.model_dump(mode="json")
    mark_run(folder, settings, first)
    (folder / "seed-0" / "model").mkdir(parents=True)
    (folder / "seed-0" / "model" / "model.json").write_text("{}")
    refuse_taken(folder, settings, first["fingerprint"])
    with pytest.raises(RunError, match="found posts, labels, splits or a corpus that differ"):
        refuse_taken(folder, settings, other["fingerprint"])


@pytest.mark.parametrize(
    ("column", "value", "values"),
    [
        ("id", "q0", {}),
        ("text", "text 0!", {}),
        ("text", None, {}),
        ("image", "/pictures/other.jpg", {}),
        ("image", None, {}),
        ("label", "b", {}),
        ("split", "val", {}),
        ("split", "test", {}),
        ("attributes", ["tree"], HIERARCHICAL),
        ("attributes", None, HIERARCHICAL),
        ("regions", "/regions/other.safetensors", REGIONS),
    ],
)
def test_another_table_makes_another_run(
    rows: Rows, column: str, value: Any, values: dict[str, Any], tmp_path: Path
) -> None:
    config = load_config(values=values)
    other = [{**rows[0], column: value}, *rows[1:]]
    first, second = described(rows, config), described(other, config)
    assert first["fingerprint"] != second["fingerprint"]
    refuse_resumed(tmp_path, config, first, second)


@pytest.mark.parametrize(
    ("column", "value"),
    [("attributes", ["tree"]), ("regions", "/regions/other.safetensors"), ("comments", ["why"])],
)
def test_what_the_run_does_not_read_may_change(rows: Rows, column: str, value: Any) -> None:
    other = [{**rows[0], column: value}, *rows[1:]]
    first, second = described(rows, load_config()), described(other, load_config())
    assert first["fingerprint"] == second["fingerprint"]


@pytest.mark.parametrize("values", [{}, {"comments.count": 0}])
def test_another_corpus_makes_another_run(
    rows: Rows,
    values: dict[str, Any],
    make_folder: Callable[[str], Path],
    tiny_bert: Path,
    tiny_vit: Path,
    tmp_path: Path,
) -> None:
    descriptions = []
    for count in (5, 6):
        corpus = make_folder("identity") / "corpus"
        build(corpus, [row(number) for number in range(count)], tiny_settings(tiny_bert, tiny_vit))
        config = load_config(values={"retrieval.corpus": corpus, **values})
        descriptions.append(described(rows, config))
    bare = described(rows, load_config())
    assert len({one["fingerprint"] for one in (*descriptions, bare)}) == 3
    refuse_resumed(tmp_path, config, *descriptions)
