"""Every preset trains, predicts, comes back from disk as it was, and can learn eight posts."""

from collections.abc import Callable, Container, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from postsense.config import Config
from postsense.config.loading import load_config, preset_names
from postsense.data.loading import load_posts
from postsense.encoders.backbone import EncoderNetwork
from postsense.inputs.preparation import prepare_posts
from postsense.posts import Posts
from postsense.prediction.classifier import average_predictions
from postsense.runs.training import load_run, train_run
from postsense.training.labeled import TrainingData, new_model

TINY = {
    "google-bert/bert-base-uncased": "tiny_bert",
    "FacebookAI/roberta-base": "tiny_roberta",
    "vinai/bertweet-base": "tiny_roberta",
    "jhu-clsp/bernice": "tiny_xlm_roberta",
    "google/vit-base-patch16-224-in21k": "tiny_vit",
    "microsoft/beit-base-patch16-224-pt22k-ft22k": "tiny_beit",
    "facebook/deit-base-patch16-224": "tiny_deit",
    "microsoft/resnet-152": "tiny_resnet",
    "microsoft/resnet-50": "tiny_resnet",
    "google/efficientnet-b4": "tiny_efficientnet",
    "openai/clip-vit-base-patch32": "tiny_clip",
    "dandelin/vilt-b32-mlm": "tiny_vilt",
    "unc-nlp/lxmert-base-uncased": "tiny_lxmert",
    "sentence-transformers/all-mpnet-base-v2": "tiny_mpnet",
    "intfloat/multilingual-e5-small": "tiny_bert",
    "google/siglip2-base-patch16-224": "tiny_siglip",
}
CLASSES = ("negative", "neutral", "positive")
WITH_CORPUS = [name for name in preset_names() if name.startswith("cast")]
TRAINED = [
    name
    for name in preset_names()
    if name not in WITH_CORPUS
    and load_config(name).method != "cluster_pseudo_labels"
    and (load_config(name).encoders.text.trainable or load_config(name).encoders.image.trainable)
]
QUICK_ONES = (  # of all kinds of models and methods one; the others are marked slow
    *("concat", "text-only", "cast-mvsa", "itc-itm-mvsa", "itrp", "spp-scl", "mmbt", "lxmert"),
    *("cnn", "ber-vit-att"),
)
Configured = Callable[..., Config]


def with_slow(names: Iterable[str], quick: Container[str]) -> list[Any]:
    """The names for `parametrize`, those that are not quick marked as slow."""
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.fixture(scope="module")
def rows(
    post_rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Any]]:
    """15 train, 4 val and 5 test posts with region features."""
    folder, chosen = tmp_path_factory.mktemp("regions"), list[dict[str, Any]]()
    generator = torch.Generator().manual_seed(0)
    for row in post_rows[:15] + post_rows[27:31] + post_rows[36:41]:
        file = folder / f"{row['id']}.safetensors"
        boxes = torch.tensor([[0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0]])
        save_file({"features": torch.rand(2, 8, generator=generator), "boxes": boxes}, file)
        chosen.append({**row, "regions": str(file)})
    return chosen


@pytest.fixture(scope="module")
def posts(rows: list[dict[str, Any]]) -> Posts:
    """The posts, of which two lack a modality."""
    lacking = [dict(row) for row in rows]
    lacking[0]["text"], lacking[1]["image"], lacking[1]["regions"] = None, None, None
    return load_posts(lacking)


@pytest.fixture
def configured(request: pytest.FixtureRequest) -> Configured:
    """`configured(preset, **values)`: the preset's settings with tiny checkpoints."""

    def load(preset: str, **values: Any) -> Config:
        ready = load_config(preset)
        encoders, quick = ready.encoders, dict[str, Any]({"training.device": "cpu"})
        if ready.declared_method.iterates:
            quick["training.epochs"] = 1
        for part, chosen in (("text", encoders.text), ("image", encoders.image)):
            tiny = TINY.get(chosen.name, "tiny_bert" if part == "text" and chosen.trainable else "")
            if tiny:
                quick[f"encoders.{part}.name"] = str(request.getfixturevalue(tiny))
        if encoders.text.trainable or encoders.text.name in TINY:
            quick["encoders.text.max_length"] = 16
        if encoders.text.name in TINY and encoders.text.read_layers > 1:
            quick["encoders.text.read_layers"] = 2
        if preset in WITH_CORPUS:
            corpus = request.getfixturevalue("synthetic_corpus")
            quick["retrieval.corpus"] = corpus
            if values.get("method", "self_training") == "self_training":
                quick["self_training.rounds"] = 1
        return load_config(preset, values=quick | values)

    return load


def test_every_checkpoint_that_a_preset_names_has_a_tiny_one() -> None:
    encoders = [load_config(name).encoders for name in preset_names()]
    named = {part.name for both in encoders for part in (both.text, both.image)}
    assert named - {"builtin", "regions"} == set(TINY)


@pytest.mark.parametrize("preset", with_slow(preset_names(), quick=QUICK_ONES))
def test_a_preset_trains_and_comes_back_from_disk(
    preset: str, posts: Posts, configured: Configured, tmp_path: Path
) -> None:
    config = configured(preset)

    summary = train_run(posts, config, tmp_path / "run")
    saved = average_predictions(load_run(tmp_path / "run"), posts)

    assert np.isfinite(saved.probs).all()
    assert saved.probs.sum(axis=1).tolist() == pytest.approx([1.0] * len(posts), abs=1e-5)
    if config.declared_method.iterates:
        assert summary.metrics[config.seed]["epochs"] == 1
    assert (saved.hints is not None) is (preset in WITH_CORPUS)
    if saved.hints is not None:
        weights = [sum(hint.weight for hint in hints) for hints in saved.hints if hints]
        assert weights == pytest.approx([1.0] * len(weights), abs=1e-5) and weights


@pytest.mark.parametrize("preset", with_slow(TRAINED, quick=("bert",)))
def test_a_model_with_a_trained_encoder_learns_eight_posts_by_heart(
    preset: str, rows: list[dict[str, Any]], configured: Configured, tmp_path: Path
) -> None:
    """Two posts share their words, so that a model of both modalities must look at the picture."""
    shared = 1 if load_config(preset).fusion.name in ("text_only", "image_only") else 2
    texts = [rows[number // shared]["text"] for number in range(8)]
    eight = [{**row, "split": "train", "text": text} for row, text in zip(rows, texts)]
    held_out = [{**row, "id": f"{row['id']} again", "split": "val"} for row in eight]
    rates = {"training.learning_rate": 0.01}
    if load_config(preset).trains_encoder:
        rates["training.encoder_learning_rate"] = 0.003
    still = {"training.epochs": 60, "training.patience": 60, "fusion.dropout": 0.0}
    config = configured(preset, **rates, **still, **{"training.select_by": "loss"})

    summary = train_run(load_posts(eight + held_out), config, tmp_path / "run")

    assert summary.metrics[config.seed]["val"]["accuracy"] == 1.0


@pytest.mark.parametrize(
    ("preset", "values"),
    [
        ("ber-vit-conc", {}),
        ("ber-vit-att", {}),
        ("mmbt", {}),
        ("vilt", {}),
        ("lxmert", {}),
        ("fine-tune", {"fusion.name": "hierarchical"}),
        ("fine-tune", {"fusion.name": "co_memory"}),
    ],
)
def test_swapped_posts_are_judged_with_the_words_they_are_shown_and_encoded_once(
    preset: str, values: dict[str, Any], rows: list[dict[str, Any]], configured: Configured
) -> None:
    config = configured(preset, **{"losses.itm": 0.1, **values})
    prepared = prepare_posts(load_posts(rows), config)
    train = prepared.dataset(np.arange(6), CLASSES, aligns=True)
    model = new_model(TrainingData(train, train, CLASSES), config).eval()
    batch, swaps, calls = train[np.arange(6)], torch.tensor([0, 2, 2, 4, 4, 5]), list[str]()
    for name, part in model.named_modules():
        if isinstance(part, EncoderNetwork) and not name.startswith("fusion"):
            part.register_forward_hook(lambda *_, name=name: calls.append(name))

    judged = model(replace(batch, swaps=swaps)).match_logits
    encoded = sorted(calls)

    assert model.match_head is not None
    shown = model(replace(batch, read={**batch.read, "text": batch["text"].take(swaps)}))
    torch.testing.assert_close(judged, model.match_head(shown.fused), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(judged[1], model.match_head(model(batch).fused)[1], atol=1e-5)
    attributes = values.get("fusion.name") == "hierarchical"  # words too, of the same encoder
    assert len(encoded) == len(set(encoded)) + attributes


@pytest.mark.parametrize("preset", ["ber-vit-conc", "ber-vit-att", "mmbt", "vilt", "lxmert"])
def test_both_image_text_losses_train_every_model_of_the_paper(
    preset: str, posts: Posts, configured: Configured, tmp_path: Path
) -> None:
    config = configured(preset, **{"losses.itc": 0.1, "losses.itm": 0.1})

    metrics = train_run(posts, config, tmp_path / "run").metrics[config.seed]

    [record] = metrics["history"]
    assert record["train_itm"] == pytest.approx(np.log(2), abs=0.3)  # a head that knows nothing
    classification = record["train_classification"]
    expected = 0.8 * classification + 0.1 * record["train_itc"] + 0.1 * record["train_itm"]
    assert record["train_total"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "preset",
    with_slow(
        [*WITH_CORPUS, "vilt", "lxmert", "bilstm", "ber-vit-att", "spp-scl-mvsa-s"],
        quick=("cast-mvsa", "vilt", "bilstm", "spp-scl-mvsa-s"),
    ),
)
def test_a_prediction_does_not_depend_on_the_posts_beside_it(
    preset: str, posts: Posts, configured: Configured, tmp_path: Path
) -> None:
    train_run(posts, configured(preset, method="supervised"), tmp_path / "run")
    [classifier] = load_run(tmp_path / "run")

    together = classifier.predict(posts)

    for row in (0, 1, 7):
        alone = classifier.predict(posts.take([row]))
        np.testing.assert_allclose(alone.probs[0], together.probs[row], atol=1e-5)
        if alone.hints is not None and together.hints is not None:
            assert {h.comment for h in alone.hints[0]} == {h.comment for h in together.hints[row]}


@pytest.mark.parametrize("preset", ["vilt", "lxmert"])
def test_joint_models_read_comments_with_the_picture(
    preset: str, posts: Posts, configured: Configured, synthetic_corpus: Path, tmp_path: Path
) -> None:
    values = {"retrieval.corpus": synthetic_corpus, "retrieval.min_score": -1.0}

    train_run(posts, configured(preset, **values), tmp_path / "run")
    predictions = average_predictions(load_run(tmp_path / "run"), posts)

    assert predictions.hints is not None and any(predictions.hints)
