"""Runs that version 0.1 saved load and predict as they did, and know their posts again."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from postsense.config.loading import load_config
from postsense.data.loading import load_posts
from postsense.data.splitting import split_posts
from postsense.prediction.classifier import average_predictions
from postsense.runs.folder import describe_run, settings_of
from postsense.runs.training import load_run
from tolerances import rounding

SAVED = sorted((Path(__file__).parent / "fixtures").glob("run-of-0.1-*"))
KERNELS = ("AVX2", "DEFAULT")  # those with which the runs were tried
WIDEST = 1280  # features of a picture
Rows = list[dict[str, Any]]


@pytest.fixture
def rows(post_rows: Rows) -> Rows:
    """The posts of those runs: the 45, of which the first has no words, the second no picture."""
    lacking = [dict(row) for row in post_rows]
    lacking[0]["text"], lacking[1]["image"] = None, None
    return lacking


def test_runs_of_several_fusions_were_saved() -> None:
    fusions = {settings_of(run).fusion.name for run in SAVED}
    assert fusions == {"concat", "hierarchical", "cross_modal"}


@pytest.mark.parametrize("run", SAVED, ids=lambda run: run.name)
def test_a_saved_run_predicts_what_it_did(run: Path, rows: Rows) -> None:
    said = pq.read_table(run / "seed-0" / "predictions.parquet").to_pydict()

    predictions = average_predictions(load_run(run), load_posts(rows))

    row_of = {post: row for row, post in enumerate(predictions.ids)}
    chosen = predictions.probs[[row_of[post] for post in said["id"]]]
    expected = np.stack([said[f"prob_{name}"] for name in predictions.classes], axis=1)
    tried = torch.backends.cpu.get_cpu_capability() in KERNELS
    bound = 2e-6 if tried else rounding(WIDEST)  # other kernels add up in other orders
    np.testing.assert_allclose(chosen, expected, rtol=0, atol=bound)
    assert [predictions.labels[row_of[post]] for post in said["id"]] == said["predicted"]


@pytest.mark.parametrize(
    ("fusion", "fingerprint"),
    [
        ("concat", "342d3b810642d4480b2a910f72955b08"),
        ("hierarchical", "ba4cc726ac785a4eacbb00e2a9cafa7c"),
    ],
)
def test_the_posts_of_a_run_have_the_fingerprint_that_they_had(
    fusion: str, fingerprint: str
) -> None:
    rows = [
        {
            "id": f"p{number}",
            "text": f"bus line {number}",
            "image": f"/pictures/{number}.png",
            "label": "ab"[number % 2],
            "split": "train" if number < 8 else "test",
            "attributes": ["bus", "road"],
        }
        for number in range(10)
    ]
    posts = load_posts(pa.Table.from_pylist(rows))
    splits = split_posts(posts, None, validation_fraction=0.25, seed=0)

    described = describe_run(load_config(values={"fusion.name": fusion}), splits)

    assert described["fingerprint"] == fingerprint
