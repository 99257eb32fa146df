"""What the supervised method builds and moves: encoders, statistics, class weights."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from postsense.config import Config
from postsense.config.loading import load_config
from postsense.data.loading import load_posts
from postsense.encoders.backbone import load_text_backbone
from postsense.encoders.features import statistics
from postsense.errors import DataError
from postsense.inputs.preparation import prepare_posts
from postsense.losses.total import total_loss
from postsense.model.outputs import PostOutput
from postsense.model.post_model import PostModel
from postsense.prediction.inference import predict_logits
from postsense.training.labeled import TrainingData, labeled_phase, loss_terms, new_model
from postsense.training.methods.supervised import train_supervised

CLASSES = ("negative", "neutral", "positive")


def configured(tiny_bert: Path, **settings: Any) -> Config:
    values = {"fusion.name": "text_only", "encoders.text.name": str(tiny_bert)}
    quick = {"training.epochs": 2, "training.learning_rate": 0.01, "training.device": "cpu"}
    return load_config(values={**values, **quick, **settings})


def training_data(rows: list[dict[str, Any]], config: Config, train: Any = None) -> TrainingData:
    prepared = prepare_posts(load_posts(rows), config)
    chosen = np.arange(27) if train is None else np.asarray(train)
    return TrainingData(
        prepared.dataset(chosen, CLASSES, aligns=config.losses.compares),
        prepared.dataset(np.arange(27, 36), CLASSES),
        CLASSES,
    )


def encoder_weights(model: PostModel) -> dict[str, torch.Tensor]:
    assert model.text is not None and model.text.encoder is not None
    return dict(model.text.encoder.backbone.state_dict())


def test_a_trained_encoder_moves_from_its_pretrained_weights(
    tiny_bert: Path, post_rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    settings = {"encoders.text.trainable": True, "training.encoder_learning_rate": 0.001}
    config = configured(tiny_bert, **settings)
    data = training_data(post_rows, config)
    before = load_text_backbone(tiny_bert, None).state_dict()
    start = encoder_weights(new_model(data, config))
    assert all(torch.equal(start[name], before[name]) for name in before)
    model = train_supervised(data, config, tmp_path).model
    after = encoder_weights(model)
    changed = [name for name in before if not torch.equal(after[name], before[name])]
    assert "model.encoder.layer.0.attention.self.query.weight" in changed
    assert "model.embeddings.word_embeddings.weight" in changed


def test_a_frozen_encoder_is_no_part_of_the_model(
    tiny_bert: Path, post_rows: list[dict[str, Any]]
) -> None:
    config = configured(tiny_bert)
    model = new_model(training_data(post_rows, config), config)
    assert model.text is not None and model.text.encoder is None
    assert not [name for name in model.state_dict() if "backbone" in name]


def test_eight_posts_are_learnt_by_heart_through_a_trained_encoder(
    tiny_bert: Path, post_rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    rates = {"training.encoder_learning_rate": 0.01, "training.epochs": 15}
    still = {"fusion.dropout": 0.0, "fusion.input_dropout": 0.0, "training.patience": 99}
    config = configured(tiny_bert, **{"encoders.text.trainable": True}, **rates, **still)
    data = training_data(post_rows, config, train=range(8))
    model = train_supervised(data, config, tmp_path).model
    predicted = predict_logits(model, data.train).argmax(axis=1)
    assert predicted.tolist() == data.train.labels.tolist()


@pytest.mark.parametrize("trainable", [False, True])
def test_the_seed_decides_the_first_weights(
    tiny_bert: Path, post_rows: list[dict[str, Any]], trainable: bool
) -> None:
    config = configured(tiny_bert, **{"encoders.text.trainable": trainable})
    data = training_data(post_rows, config)
    heads = []
    for seed in (3, 3, 4):
        torch.rand(seed)  # what was drawn before does not matter
        model = new_model(data, config.model_copy(update={"seed": seed}))
        heads.append(model.head[1].weight)
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


def test_frozen_features_are_standardised_with_the_training_posts_alone(
    tiny_bert: Path, post_rows: list[dict[str, Any]]
) -> None:
    config = configured(tiny_bert)
    data = training_data(post_rows, config, train=range(10))
    model = new_model(data, config)
    features = data.train.columns.read["text"].batch(np.arange(10)).pooled
    assert model.text is not None
    torch.testing.assert_close(model.text.mean, features.mean(dim=0))
    torch.testing.assert_close(model.text.deviation, statistics(features)[1])


def test_posts_without_the_modality_do_not_count_in_its_statistics(
    tiny_bert: Path, post_rows: list[dict[str, Any]]
) -> None:
    config = configured(tiny_bert)
    rows = [{**row, "text": None} if number < 5 else row for number, row in enumerate(post_rows)]
    some = new_model(training_data(rows, config, train=range(10)), config)
    rest = new_model(training_data(post_rows, config, train=range(5, 10)), config)
    assert some.text is not None and rest.text is not None
    assert torch.equal(some.text.mean, rest.text.mean)


@pytest.mark.parametrize(("absent", "name"), [("text", "a text"), ("image", "a picture")])
def test_a_modality_that_no_training_post_has_is_refused(
    post_rows: list[dict[str, Any]], absent: str, name: str
) -> None:
    rows = [{**row, absent: None} if number < 27 else row for number, row in enumerate(post_rows)]
    config = load_config("concat")
    with pytest.raises(DataError, match=f"train: expected posts with {name}, found none"):
        new_model(training_data(rows, config), config)


def test_balanced_class_weights_come_from_the_training_labels(
    tiny_bert: Path, post_rows: list[dict[str, Any]]
) -> None:
    config = configured(tiny_bert, **{"losses.class_weights": "balanced"})
    data = training_data(post_rows, config, train=[0, 3, 6, 9, 1, 2])  # 4, 1 and 1 of a class
    logits = torch.zeros(6, 3)
    output = PostOutput(logits=logits, fused=logits, read={})
    loss = total_loss(loss_terms(data, config.losses), output, data.train[np.arange(6)])
    # 6 / (3 * 4) for four posts, 6 / 3 for two, each times log 3, over 6 posts
    assert float(loss.total) == pytest.approx((4 * 0.5 + 2 * 2.0) / 6 * np.log(3))


PAIRS = {"losses.itc": 0.2, "losses.itm": 0.1, "training.device": "cpu"}


def test_image_text_losses_take_their_weight_from_the_labels(
    post_rows: list[dict[str, Any]],
) -> None:
    config = load_config("concat", values=PAIRS | {"losses.classification": 2.0})
    terms = loss_terms(training_data(post_rows, config), config.losses)

    weights = {name: term.weight for name, term in terms.items()}
    assert weights == pytest.approx({"classification": 2 * (1 - 0.2 - 0.1), "itc": 0.2, "itm": 0.1})


@pytest.mark.parametrize(
    "fusion",
    [
        "concat",
        pytest.param("cross_attention", marks=pytest.mark.slow),
        pytest.param("co_memory", marks=pytest.mark.slow),
        pytest.param("hierarchical", marks=pytest.mark.slow),
    ],
)
def test_every_part_of_the_objective_is_reported_and_falls(
    fusion: str, post_rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    still = {"fusion.dropout": 0.0, "fusion.input_dropout": 0.0, "fusion.hidden": 64}
    values = PAIRS | still | {"training.epochs": 40, "training.patience": 99}
    config = load_config(values=values | {"fusion.name": fusion, "training.learning_rate": 3e-3})
    data = training_data(post_rows, config, train=range(8))

    history = train_supervised(data, config, tmp_path).state.history

    for part in ("classification", "itc"):
        assert history[-1][f"train_{part}"] < 0.3 * history[0][f"train_{part}"]
    assert all(row["train_itm"] > 0 for row in history)  # other pairs each time: not by heart


def test_the_words_that_are_swapped_in_follow_from_the_seed(
    post_rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    config = load_config("concat", values=PAIRS | {"training.epochs": 2})
    data = training_data(post_rows, config)
    runs = [train_supervised(data, config, tmp_path / str(run)).state.history for run in range(2)]

    assert runs[0] == runs[1]


def test_batches_of_two_posts_and_a_last_one_alone_train(
    post_rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    values = PAIRS | {"training.epochs": 1, "training.batch_size": 2}
    config = load_config("concat", values=values)
    data = training_data(post_rows, config, train=range(5))

    [record] = train_supervised(data, config, tmp_path).state.history

    assert np.isfinite(record["train_itm"]) and record["train_itc"] > 0


@pytest.mark.parametrize(("column", "name"), [("text", "text"), ("image", "picture")])
def test_posts_that_all_say_or_show_the_same_cannot_be_matched(
    column: str, name: str, post_rows: list[dict[str, Any]]
) -> None:
    rows = [{**row, column: post_rows[0][column]} for row in post_rows]
    config = load_config("concat", values=PAIRS)

    expected = f"text and picture, of different {name}s, found the same {name} in all of them"
    with pytest.raises(DataError, match=expected):
        labeled_phase("train", training_data(rows, config), config)


def test_posts_none_of_which_has_words_and_picture_cannot_be_matched(
    post_rows: list[dict[str, Any]],
) -> None:
    rows = [{**row, ("text", "image")[number % 2]: None} for number, row in enumerate(post_rows)]
    config = load_config("concat", values=PAIRS)

    with pytest.raises(DataError, match="found none that has both"):
        labeled_phase("train", training_data(rows, config), config)


def test_a_batch_of_one_text_among_others_trains(
    post_rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    rows = [
        {**row, "text": "the same" if number else "another"} for number, row in enumerate(post_rows)
    ]
    config = load_config("concat", values=PAIRS | {"training.batch_size": 4, "training.epochs": 1})

    [record] = train_supervised(training_data(rows, config), config, tmp_path).state.history

    assert np.isfinite(record["train_total"])
    assert record["train_itc"] == pytest.approx(0, abs=0.2)  # but for the batch with the other


def test_frozen_layers_are_saved_as_the_checkpoint_has_them(
    tiny_bert: Path, post_rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    settings = {"encoders.text.trainable": True, "encoders.text.frozen_layers": 1}
    config = configured(tiny_bert, **settings, **{"training.encoder_learning_rate": 0.001})
    before = load_text_backbone(tiny_bert, None).state_dict()

    model = train_supervised(training_data(post_rows, config), config, tmp_path).model

    moved = {
        name for name, value in encoder_weights(model).items() if not value.equal(before[name])
    }
    assert moved and all("layer.1." in name or "pooler" in name for name in moved)
