"""Discovery of groups: a run that is trained once, named at will and predicts as its page says."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from postsense.config import Config
from postsense.config.loading import load_config
from postsense.data.loading import load_posts
from postsense.discovery.discover import SETTINGS, discover
from postsense.errors import BusyError, ConfigError, DataError, RunError
from postsense.files.locking import writing_to
from postsense.posts import Posts
from postsense.prediction.classifier import average_predictions
from postsense.runs.training import load_run

Rows = list[dict[str, Any]]


def settings_of(clusters: int = 3, **values: Any) -> Config:
    given = {"method": "cluster_pseudo_labels", "clustering.clusters": clusters}
    return load_config(None, None, SETTINGS, {**given, "training.device": "cpu", **values})


def groups_of(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "groups.json").read_text())["groups"]
    return found


@pytest.fixture(scope="module")
def posts(post_rows: Rows) -> Posts:
    """The 45 posts, each with a word of its own."""
    rows = [{**row, "text": f"{row['text']} w{n}"} for n, row in enumerate(post_rows)]
    return load_posts(rows)


@pytest.fixture(scope="module")
def truth(post_rows: Rows) -> list[str]:
    return [row["label"] for row in post_rows]


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory, posts: Posts) -> Path:
    """Not to be changed."""
    folder = tmp_path_factory.mktemp("discovered") / "run"
    discover(posts, settings_of(), folder)
    return folder


@pytest.fixture
def run(tmp_path: Path, first_run: Path) -> Path:
    return Path(shutil.copytree(first_run, tmp_path / "run"))


def test_groups_are_what_the_posts_are_about(run: Path, truth: list[str]) -> None:
    table = pq.read_table(run / "groups.parquet").to_pydict()
    pairs = set(zip(table["group"], truth))
    assert len(pairs) == 3
    assert [group["size"] for group in groups_of(run)] == [15, 15, 15]
    assert sorted(group["words"][0] for group in groups_of(run)) == ["again", "bus", "day"]
    assert min(table["probability"]) > 0.5


def test_a_run_holds_all_of_its_files(run: Path, posts: Posts) -> None:
    assert {file.name for file in run.iterdir()} == {
        *("config.json", "run.json", "bad_rows.jsonl", "groups.json", "groups.parquet"),
        *("index.html", "seed-0"),
    }
    metrics = json.loads((run / "seed-0" / "metrics.json").read_text())
    assert metrics["agreement"] == 1.0
    assert sorted(metrics["order"]) == [0, 1, 2]
    assert not (run / "seed-0" / "checkpoints").exists()


def test_the_run_predicts_what_the_page_says(run: Path, posts: Posts) -> None:
    predictions = average_predictions(load_run(run), posts)
    table = pq.read_table(run / "groups.parquet")
    assert predictions.labels == table["name"].to_pylist()
    np.testing.assert_allclose(predictions.probs.max(axis=1), table["probability"], atol=1e-6)


def test_the_same_again_trains_nothing_and_writes_the_same(run: Path, posts: Posts) -> None:
    model = run / "seed-0" / "model" / "weights.safetensors"
    before = model.stat().st_mtime_ns
    files = {name: (run / name).read_bytes() for name in ("groups.json", "index.html")}
    discover(posts, settings_of(), run)
    assert model.stat().st_mtime_ns == before
    assert files == {name: (run / name).read_bytes() for name in files}


def test_another_folder_gives_the_same_groups(run: Path, posts: Posts, tmp_path: Path) -> None:
    discover(posts, settings_of(), tmp_path / "other")
    assert (tmp_path / "other" / "groups.json").read_bytes() == (run / "groups.json").read_bytes()


def test_names_are_the_classes_and_stay_until_they_are_given_anew(run: Path, posts: Posts) -> None:
    history = (run / "seed-0" / "metrics.json").read_bytes()
    discover(posts, settings_of(), run, names=["1=food", "2=cats"])
    discover(posts, settings_of(), run, names=["2=dogs"])
    assert {g["number"]: g["name"] for g in groups_of(run)} == {1: "food", 2: "dogs", 3: "group 3"}
    assert load_run(run)[0].classes == ("dogs", "food", "group 3")
    assert (run / "seed-0" / "metrics.json").read_bytes() == history
    assert ">dogs (15)<" in (run / "index.html").read_text()


def test_groups_of_one_name_are_one_and_can_be_parted_again(run: Path, posts: Posts) -> None:
    apart = average_predictions(load_run(run), posts).probs
    discover(posts, settings_of(), run, names=["1=food", "3=food"])
    together = average_predictions(load_run(run), posts)
    assert together.classes == ("food", "group 2")
    np.testing.assert_allclose(together.probs[:, 0], apart[:, 0] + apart[:, 2], atol=1e-6)
    assert [(g["numbers"], g["size"]) for g in groups_of(run)] == [([1, 3], 30), ([2], 15)]
    discover(posts, settings_of(), run, names=["3=group 3", "1=group 1"])
    np.testing.assert_allclose(average_predictions(load_run(run), posts).probs, apart, atol=1e-6)


def test_a_few_labels_name_the_groups(run: Path, posts: Posts, truth: list[str]) -> None:
    labels = [label if row in (0, 1, 3, 4) else None for row, label in enumerate(truth)]
    labels[6] = "odd"
    found = discover(posts, settings_of(), run, labels=labels)
    assert found.vote is not None
    assert (found.vote.agreed, found.vote.labeled) == (4, 5)
    names = pq.read_table(run / "groups.parquet")["name"].to_pylist()
    assert names[:2] == truth[:2]
    assert names[2] == names[5] and names[2].startswith("group ")
    counted = {g["name"]: g["labels"] for g in groups_of(run)}
    assert counted[truth[0]]["odd"] == {"posts": 1, "share": round(1 / 3, 6)}


def test_labels_leave_a_name_that_was_given_before(
    run: Path, posts: Posts, truth: list[str]
) -> None:
    discover(posts, settings_of(), run, names=["1=food", "2=group 2"])
    discover(posts, settings_of(), run, labels=truth)
    names = {group["number"]: group["name"] for group in groups_of(run)}
    assert names[1] == "food"
    assert {names[2], names[3]} < set(truth)


def test_a_group_that_got_its_first_name_back_is_named_by_labels(
    run: Path, posts: Posts, truth: list[str]
) -> None:
    discover(posts, settings_of(), run, names=["1=food"])
    discover(posts, settings_of(), run, names=["1=group 1"], labels=[None] * len(truth))
    assert groups_of(run)[0]["name"] == "group 1"
    discover(posts, settings_of(), run, labels=truth)
    assert {group["name"] for group in groups_of(run)} == set(truth)


def test_a_given_name_counts_more_than_a_label(run: Path, posts: Posts, truth: list[str]) -> None:
    found = discover(posts, settings_of(), run, names=["1=mine"], labels=truth)
    assert len(found.groups) == 3
    assert {group.name for group in found.groups} - set(truth) == {"mine"}


def test_no_handle_of_a_typical_post_is_published(post_rows: Rows, tmp_path: Path) -> None:
    rows = [{**row, "text": f"@some_one {row['text']}"} for row in post_rows]
    discover(load_posts(rows), settings_of(), tmp_path / "run")
    written = [file.read_bytes() for file in (tmp_path / "run").iterdir() if file.is_file()]
    assert not [data for data in written if b"some_one" in data]
    assert b"@USER" in (tmp_path / "run" / "index.html").read_bytes()


def test_no_handle_in_an_id_is_on_the_page(post_rows: Rows, tmp_path: Path) -> None:
    links = [f"https://x.example/some_one/status/{row['id']}" for row in post_rows]
    rows = [{**row, "id": link} for row, link in zip(post_rows, links, strict=True)]
    discover(load_posts(rows), settings_of(), tmp_path / "run")
    page = (tmp_path / "run" / "index.html").read_text()
    assert "some_one" not in page
    assert "Picture of post HTTPURL" in page
    assert pq.read_table(tmp_path / "run" / "groups.parquet")["id"].to_pylist() == links


def test_a_post_that_cannot_be_read_is_in_no_group(
    post_rows: Rows, posts: Posts, tmp_path: Path
) -> None:
    rows = [*post_rows, {"id": "empty"}, {"id": "words", "text": "bus line 9"}]
    found = discover(load_posts(rows), settings_of(), tmp_path / "run")
    table = pq.read_table(tmp_path / "run" / "groups.parquet").to_pylist()
    assert table[45] == {"id": "empty", "group": None, "name": None, "probability": None}
    assert table[46]["group"] is not None
    assert [row.id for row in found.bad] == ["empty"]
    assert "46 posts in 3 groups; 1 could not be read" in (
        (tmp_path / "run" / "index.html").read_text()
    )


def test_posts_beyond_the_subset_get_a_group_too(
    posts: Posts, tmp_path: Path, truth: list[str]
) -> None:
    discover(posts, settings_of(**{"clustering.subset": 30}), tmp_path / "run")
    assert sum(group["size"] for group in groups_of(tmp_path / "run")) == 45
    groups = pq.read_table(tmp_path / "run" / "groups.parquet")["group"].to_pylist()
    assert len(set(zip(groups, truth))) == 3


def test_a_mixture_finds_them_too(posts: Posts, tmp_path: Path, truth: list[str]) -> None:
    values = {"clustering.algorithm": "gmm", "clustering.restarts": 1}
    discover(posts.take(range(15)), settings_of(**values), tmp_path / "run")
    assert sum(group["size"] for group in groups_of(tmp_path / "run")) == 15


@pytest.mark.parametrize("rows", [2, 0])
def test_more_groups_than_different_posts_are_refused(rows: int, tmp_path: Path) -> None:
    texts = ["same words here"] * 9 + [f"text {'x' * n}" for n in range(rows)]
    with pytest.raises(DataError, match="at least 4 different posts") as refused:
        discover(load_posts([{"text": text} for text in texts]), settings_of(4), tmp_path / "run")
    assert f"found {rows + 1} in {rows + 9} usable posts" in str(refused.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("column", "lacked"), [("text", "no words in the 45"), ("image", "no pictures in the 45")]
)
def test_posts_of_which_none_has_words_or_none_a_picture_are_refused(
    column: str, lacked: str, post_rows: Rows, tmp_path: Path
) -> None:
    other = {"text": "image", "image": "text"}[column]
    rows = [{**row, column: None, "text": f"{row['text']} {n}"} for n, row in enumerate(post_rows)]
    rows = [{name: row[name] for name in ("id", other)} for row in rows]
    with pytest.raises(DataError, match=f"{lacked} posts to be grouped") as refused:
        discover(load_posts(rows), settings_of(), tmp_path / "run")
    assert f"data.columns.{column}=COLUMN" in str(refused.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        (settings_of(4), "clustering.clusters = 4"),
        (settings_of(**{"clustering.algorithm": "gmm"}), "clustering.algorithm = 'gmm'"),
    ],
)
def test_a_run_of_other_settings_is_left_alone(
    run: Path, posts: Posts, settings: Config, found: str
) -> None:
    before = (run / "groups.json").read_bytes()
    with pytest.raises(RunError, match="the settings it was started with") as refused:
        discover(posts, settings, run)
    assert found in str(refused.value)
    assert (run / "groups.json").read_bytes() == before


@pytest.fixture
def nothing_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postsense.discovery.discover.prepare_posts", None)  # cannot be called


@pytest.mark.usefixtures("nothing_encoded")
def test_a_wrong_folder_is_refused_before_posts_are_encoded(
    run: Path, posts: Posts, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match="the settings it was started with"):
        discover(posts, settings_of(4), run)
    with pytest.raises(RunError, match="the posts it was started with"):
        discover(posts.take(range(44)), settings_of(), run)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / ".index.html.swp").write_text("x")
    (tmp_path / "mine" / ".groups.json.a1b2c3d4.json").write_text("x")
    with pytest.raises(RunError, match=r"found \['.index.html.swp'\] in it"):
        discover(posts, settings_of(), tmp_path / "mine")
    assert len(list((tmp_path / "mine").iterdir())) == 2


def test_a_second_discovery_is_told_of_the_first(run: Path, posts: Posts) -> None:
    with writing_to(run, "discover"), pytest.raises(BusyError, match="'discover' at work in it"):
        discover(posts, settings_of(), run)


def test_what_a_killed_discovery_left_half_written_is_swept(run: Path, posts: Posts) -> None:
    whole = {file.name for file in run.iterdir()}
    for name in (".index.html.a1b2c3d4.html", ".groups.parquet.a1b2c3d4.parquet"):
        (run / name).write_text("<")
    (run / "seed-0" / f".model.{'0f' * 16}").mkdir()
    discover(posts, settings_of(), run)
    assert {file.name for file in run.iterdir()} == whole
    assert not list((run / "seed-0").glob(".*"))


def test_a_run_whose_model_is_gone_is_trained_again(run: Path, posts: Posts) -> None:
    before = (run / "groups.json").read_bytes()
    (run / "seed-0" / "model" / "model.json").unlink()
    discover(posts, settings_of(), run)
    assert (run / "groups.json").read_bytes() == before


@pytest.mark.parametrize("damage", ["{", '{"groups": [{}]}', "[]"])
def test_damaged_groups_are_told(run: Path, posts: Posts, damage: str) -> None:
    (run / "groups.json").write_text(damage)
    with pytest.raises(RunError, match=r"groups\.json"):
        discover(posts, settings_of(), run)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("fusion.name", "text_only"),
        ("encoders.text.trainable", True),
        ("encoders.image.trainable", True),
        ("retrieval.corpus", "corpus"),
    ],
)
def test_settings_of_other_models_are_refused(
    key: str, value: Any, posts: Posts, tmp_path: Path
) -> None:
    extra = {"fusion.hidden": 8} if key == "retrieval.corpus" else {}
    with pytest.raises(ConfigError, match=f"discover: expected {key}"):
        discover(posts, settings_of(**{key: value, **extra}), tmp_path / "run")


def test_settings_of_another_method_are_refused(posts: Posts, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="discover: expected method"):
        discover(posts, load_config("concat"), tmp_path / "run")


def test_wrong_names_are_refused_before_anything_is_done(posts: Posts, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a group from 1 to 3"):
        discover(posts, settings_of(), tmp_path / "run", names=["4=food"])
    assert not (tmp_path / "run").exists()


def test_labels_that_name_groups_are_seen(run: Path, posts: Posts, truth: list[str | None]) -> None:
    [before] = load_run(run)
    assert before.seen is not None and len(before.seen.grouped) == 45
    assert (len(before.seen.trained), len(before.seen.selected)) == (0, 0)
    discover(posts, settings_of(), run, labels=[*truth[:6], *[None] * 39])
    [named] = load_run(run)
    assert named.seen is not None and len(named.seen.selected) == 6
