"""ITRp on real posts without labels: against one clustering, and on words alone.

Usage: python benchmarks/itrp.py DATA [--out RUNS] [--only pictures,words] [--seeds N]
                                 [--presets itrp,itrp-text,itrp-image] [--precision bf16]
                                 [--subset 1000]

DATA holds mvsa_single, mediaeval16 and itr_tir_text. `pictures`: the unlabelled train posts of
MVSA-Single (grouped) and of MediaEval 2016 (two a picture at most), three clusters, named by the
labelled val posts and measured on the test posts of MVSA-Single: by the joint label, that of the
words and that of the picture. `words`: ITR's texts, two clusters, both tasks and their pair, on the
test rows as released, without the 218 that ITRp's authors doubt, and with those relabelled.
Prints Markdown, mean ± standard deviation over seeds of weighted F1, accuracy and macro F1. Subsets
are of --subset posts, of which a pass then has several; single clusterings have three restarts.
"""

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from postsense.config import Config
from postsense.config.loading import load_config
from postsense.data.loading import load_posts
from postsense.data.relabeling import relabel_table
from postsense.evaluation.cluster_names import name_clusters
from postsense.evaluation.metrics import classification_metrics
from postsense.evaluation.task_pairs import pair_metrics
from postsense.inputs.preparation import prepare_posts
from postsense.posts import Posts
from postsense.runs.training import load_run, train_run
from postsense.training.clusters import cluster_vectors, equal_scaled

Array = np.ndarray[Any, Any]
PER_PICTURE = 2
ITR_TEST = 3576  # rows from here on are ITRp's test posts
ITR_VAL = 3219  # of those before, rows from here on name the clusters
MVSA_LABELS = ("label", "labels.text", "labels.image")
ITR_TASKS = ("labels.text_is_represented", "labels.image_adds")


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """The posts of a set, their pictures by absolute path."""
    rows = [json.loads(line) for line in (folder / "posts.jsonl").read_text("utf-8").splitlines()]
    return [{**row, "image": row["image"] and str(folder / row["image"])} for row in rows]


def unlabeled_table(data: Path) -> list[dict[str, Any]]:
    """MVSA-Single with labels on val and test alone, and posts of MediaEval to train on."""
    rows, seen = [], Counter[str]()
    for row in read_rows(data / "mvsa_single"):
        split = row["splits"]["grouped"]
        kept = row if split != "train" else {**row, "label": None, "labels": None}
        rows.append({**kept, "split": split})
    for row in read_rows(data / "mediaeval16"):
        seen[str(row["image"])] += 1
        if row["image"] is not None and seen[row["image"]] <= PER_PICTURE:
            rows.append({"id": row["id"], "text": row["text"], "image": row["image"]})
            rows[-1] |= {"label": None, "labels": None, "split": "train"}
    return [{"labels": {"text": None, "image": None}, **row} for row in map(_flat, rows)]


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: row[name] for name in ("id", "text", "image", "label", "split")}
    return {**kept, "labels": row["labels"] or {"text": None, "image": None}}


def clusterings(posts: Posts, config: Config, algorithm: str, seeds: int) -> list[Array]:
    """The nearest cluster of each post, by seed, train posts having been clustered once."""
    settings = config.clustering.model_copy(update={"algorithm": algorithm, "restarts": 3})
    prepared = prepare_posts(posts, config)
    columns: list[Any] = list(prepared.columns.read.values())
    rows = np.arange(len(posts))
    vectors = equal_scaled([column.batch(rows).pooled.numpy() for column in columns])
    train, found = vectors[np.array(posts.column("split")) == "train"], []
    for seed in range(seeds):
        centers = cluster_vectors(train, settings, seed).centers
        distances = np.stack([np.square(vectors - center).sum(axis=1) for center in centers])
        found.append(distances.argmin(axis=0))
    return found


def trained_clusters(posts: Posts, config: Config, out: Path, seeds: int) -> list[Array]:
    """The cluster that each post of val and test is put into by seed, else -1.

    There are as many clusters as classes, so that the classes which the classifiers say are the
    clusters under other names.
    """
    train_run(posts, config, out, seeds=seeds)
    held, found = np.flatnonzero(np.array(posts.column("split")) != "train"), []
    for classifier in load_run(out):
        said = classifier.predict(posts.take(held)).labels
        found.append(np.full(len(posts), -1))
        found[-1][held] = [-1 if x is None else classifier.classes.index(x) for x in said]
    return found


def named_metrics(clusters: Array, posts: Posts) -> dict[str, Any]:
    """Metrics on test of clusters that the labelled val posts name. clusters: (N,)."""
    splits = np.array(posts.column("split"))
    labels = np.array(posts.column("label"), dtype=object)
    classes = tuple(sorted({label for label in labels if label is not None}))
    numbers = np.array([classes.index(x) if x is not None else -1 for x in labels])
    judged = (numbers >= 0) & (clusters >= 0)
    val, test = np.isin(splits, ("val", "dev")) & judged, (splits == "test") & judged
    k = int(clusters.max()) + 1
    names = name_clusters(clusters[val], numbers[val], k, len(classes))
    return classification_metrics(numbers[test], names[clusters[test]], classes)


def commonest(posts: Posts) -> dict[str, Any]:
    """Metrics on test of saying the commonest label of val every time."""
    splits, labels = np.array(posts.column("split")), np.array(posts.column("label"), dtype=object)
    said = Counter(labels[np.isin(splits, ("val", "dev"))]).most_common(1)[0][0]
    classes = sorted({label for label in labels if label is not None})
    truth = np.array([classes.index(label) for label in labels[splits == "test"]])
    return classification_metrics(truth, np.full(len(truth), classes.index(said)), classes)


def print_scores(name: str, found: Sequence[Mapping[str, Any]]) -> None:
    """One row: weighted F1, accuracy, macro F1."""
    scores = (np.array([one[m] for one in found]) for m in ("weighted_f1", "accuracy", "macro_f1"))
    cells = " | ".join(f"{values.mean():.4f} ± {values.std():.4f}" for values in scores)
    print(f"| {name} | {cells} |", flush=True)


def print_pictures(given: argparse.Namespace) -> None:
    """Clusters of posts with pictures, by each of MVSA's three labels."""
    rows, values = unlabeled_table(given.data), {"clustering.clusters": 3}
    config = load_config("itrp", values=values)
    posts = load_posts(rows, config.data.columns)
    found = {
        f"{algorithm}, once": clusterings(posts, config, algorithm, given.seeds)
        for algorithm in ("kmeans", "gmm")
    }
    more = {"training.mixed_precision": given.precision, "clustering.subset": given.subset}
    for preset in given.presets.split(","):
        config = load_config(preset, values={**values, **more})
        found[preset] = trained_clusters(posts, config, given.out / preset, given.seeds)
    for label in MVSA_LABELS:
        columns = config.data.columns.model_copy(update={"label": label})
        labeled = load_posts(rows, columns)
        print(f"\n{label}\n\n| model | weighted F1 | accuracy | macro F1 |\n|---|---|---|---|")
        print_scores("commonest label", [commonest(labeled)])
        for name, clusters in found.items():
            print_scores(name, [named_metrics(one, labeled) for one in clusters])


def itr_rows(data: Path) -> list[dict[str, Any]]:
    """ITR's posts, labels as words, in the authors' split."""
    rows = []
    for number, row in enumerate(read_rows(data)):
        split = "test" if number >= ITR_TEST else "val" if number >= ITR_VAL else "train"
        labels = {name: str(value) for name, value in row["labels"].items()}
        rows.append({**row, "labels": labels, "split": split})
    return rows


def print_words(given: argparse.Namespace) -> None:
    """Two tasks over ITR's texts and their pair, on three versions of the test posts."""
    folder = given.data / "itr_tir_text"
    corrections, given_table = folder / "controversial_samples.txt", folder / "posts.jsonl"
    versions = {"released": folder, "removed": given.out / "rm", "relabelled": given.out / "rl"}
    for name in ("removed", "relabelled"):
        versions[name].mkdir(parents=True, exist_ok=True)
        target = versions[name] / "posts.jsonl"
        relabel_table(given_table, corrections, target, drop=name == "removed")
    rows = itr_rows(folder)
    test_ids = {row["id"] for row in rows if row["split"] == "test"}
    print("\n| test posts | task | weighted F1 | accuracy | macro F1 |\n|---|---|---|---|---|")
    runs = {}
    for part, task in zip(("text", "image"), ITR_TASKS, strict=True):
        values: dict[str, Any] = {"data.columns.label": task, "fusion.name": "text_only"}
        frozen = load_config("itrp", values=values | {"clustering.clusters": 2})
        values |= {"training.mixed_precision": given.precision, "clustering.subset": given.subset}
        config = load_config("itrp-text", values=values)
        posts = load_posts(rows, config.data.columns)
        for algorithm in ("kmeans", "gmm"):
            found = clusterings(posts, frozen, algorithm, given.seeds)
            scores = [named_metrics(one, posts) for one in found]
            print_scores(f"released | {part}, {algorithm} once", scores)
        runs[task] = given.out / f"itr-{task}"
        train_run(posts, config, runs[task], seeds=given.seeds)
    for name, place in versions.items():
        tests = [row for row in itr_rows_of(place) if row["id"] in test_ids]
        each: dict[str, list[Any]] = {"text": [], "image": [], "pair": []}
        for pair in zip(*(load_run(run) for run in runs.values()), strict=True):
            found = [one.predict(load_posts(tests, one.config.data.columns)) for one in pair]
            labels = [[row["labels"][task.split(".")[1]] for row in tests] for task in ITR_TASKS]
            metrics = pair_metrics(found[0], found[1], labels[0], labels[1])
            for part, values in zip(
                each, (metrics.first, metrics.second, metrics.pair), strict=True
            ):
                each[part].append(values)
        for part, values in each.items():
            print_scores(f"{name} ({len(tests)}) | {part}", values)


def itr_rows_of(folder: Path) -> list[dict[str, Any]]:
    """The posts of a version of ITR, labels as words."""
    return [
        {**row, "labels": {name: str(value) for name, value in row["labels"].items()}}
        for row in read_rows(folder)
    ]


def main() -> None:
    """Train what is asked for and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "itrp")
    parser.add_argument("--only", default="pictures,words")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--presets", default="itrp,itrp-text,itrp-image")
    parser.add_argument("--subset", type=int, default=1000)
    parser.add_argument("--precision", default="bf16", choices=["no", "bf16"])
    given = parser.parse_args()
    if "pictures" in given.only.split(","):
        print_pictures(given)
    if "words" in given.only.split(","):
        print_words(given)


if __name__ == "__main__":
    main()
