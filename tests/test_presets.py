"""Every preset trains, predicts and comes back from disk as it was."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from postsense.classifier import average_predictions
from postsense.config_loading import load_config, preset_names
from postsense.data.loading import load_posts
from postsense.posts import Posts
from postsense.runs import load_run, train_run

BUILT_IN = ("concat", "cross-attention", "image-only", "text-only")


@pytest.fixture(scope="module")
def posts(post_rows: list[dict[str, Any]]) -> Posts:
    """15 train, 4 val and 5 test posts; two lack a modality."""
    rows = [dict(row) for row in post_rows[:15] + post_rows[27:31] + post_rows[36:41]]
    rows[0]["text"], rows[1]["image"] = None, None
    return load_posts(rows)


@pytest.mark.parametrize("preset", preset_names())
def test_a_preset_trains_and_comes_back_from_disk(
    preset: str, posts: Posts, synthetic_corpus: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    values: dict[str, Any] = {"training.epochs": 1, "training.device": "cpu"}
    if preset.startswith("cast"):
        values |= {"retrieval.corpus": synthetic_corpus, "self_training.rounds": 1}
    if preset not in BUILT_IN:
        values |= {"encoders.text.name": str(tiny_bert), "encoders.text.max_length": 16}
    config = load_config(preset, values=values)

    summary = train_run(posts, config, tmp_path / "run")
    saved = average_predictions(load_run(tmp_path / "run"), posts)

    assert np.isfinite(saved.probs).all()
    assert saved.probs.sum(axis=1).tolist() == pytest.approx([1.0] * len(posts), abs=1e-5)
    assert summary.metrics[config.seed]["epochs"] == 1
    assert (saved.hints is not None) is preset.startswith("cast")
    if saved.hints is not None:
        weights = [sum(hint.weight for hint in hints) for hints in saved.hints if hints]
        assert weights == pytest.approx([1.0] * len(weights), abs=1e-5) and weights


@pytest.mark.parametrize("preset", [name for name in preset_names() if name.startswith("cast")])
def test_a_prediction_does_not_depend_on_the_posts_beside_it(
    preset: str, posts: Posts, synthetic_corpus: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    values: dict[str, Any] = {"training.epochs": 1, "training.device": "cpu"}
    values |= {"retrieval.corpus": synthetic_corpus, "method": "supervised"}
    values |= {"encoders.text.name": str(tiny_bert), "encoders.text.max_length": 16}
    train_run(posts, load_config(preset, values=values), tmp_path / "run")
    [classifier] = load_run(tmp_path / "run")

    together = classifier.predict(posts)

    for row in (0, 1, 7):
        alone = classifier.predict(posts.take([row]))
        np.testing.assert_allclose(alone.probs[0], together.probs[row], atol=1e-5)
        assert alone.hints is not None and together.hints is not None
        assert {h.comment for h in alone.hints[0]} == {h.comment for h in together.hints[row]}
