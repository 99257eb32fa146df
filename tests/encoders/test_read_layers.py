"""Tokens hold the states of several layers side by side, the vector those of the last alone."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from postsense.config import Config
from postsense.config.encoders import Pooling
from postsense.config.loading import parse_config
from postsense.encoders import frozen
from postsense.encoders.backbone import TextEncoder, load_text_backbone
from postsense.encoders.embeddings import Embeddings, pool
from postsense.encoders.encode import encode_texts
from postsense.encoders.frozen import FrozenTextEncoder
from postsense.errors import EncoderError
from postsense.model.build import build_model, load_encoders
from postsense.model.post_model import Branch
from postsense.posts import Posts, posts_of_texts
from tolerances import rounding

pytestmark = pytest.mark.usefixtures("exporting")
DIM, TOKEN_DIM = 16, 32
NEAR = rounding(32, scale=4, steps=6)  # two layers of attention, its projection and an MLP
CPU = torch.device("cpu")
IDS = torch.tensor([[2, 4, 5, 6, 3], [2, 7, 3, 1, 1], [1, 1, 1, 1, 1]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 0, 0, 0]], dtype=torch.bool)


def config_of(folder: Path, cache: Path | None = None, **text: Any) -> Config:
    chosen = {"name": str(folder), "max_length": 16, "read_layers": 2, **text}
    encoders = {"text": chosen, "cache": cache}
    return parse_config({"fusion": {"name": "cross_modal"}, "encoders": encoders})


def text_encoder(folder: Path, cache: Path | None = None, **text: Any) -> FrozenTextEncoder:
    return FrozenTextEncoder(config_of(folder, cache, **text).encoders, CPU)


@pytest.fixture
def never_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*inputs: Any) -> None:
        raise torch.onnx.errors.OnnxExporterError("no such operator")

    monkeypatch.setattr(frozen, "export_session", refuse)


def states_of(folder: Path, ids: Tensor) -> tuple[list[Tensor], Tensor]:
    """What transformers gives: each layer's states, embeddings first, and the last ones."""
    from transformers import AutoModel

    whole = AutoModel.from_pretrained(folder).eval()
    output = getattr(whole, "text_model", whole)(ids, output_hidden_states=True)
    return list(output.hidden_states), output.last_hidden_state


@pytest.mark.parametrize("name", ["tiny_bert", "tiny_roberta", "tiny_clip"])
def test_tokens_are_the_states_of_the_last_layers_the_last_one_last(
    request: pytest.FixtureRequest, name: str
) -> None:
    folder, ids = request.getfixturevalue(name), IDS[:1]
    states, last = states_of(folder, ids)

    tokens, cls = load_text_backbone(folder, None, 2)(ids, torch.ones_like(ids))

    torch.testing.assert_close(tokens, torch.cat([states[1], last], dim=-1))
    assert torch.equal(cls, load_text_backbone(folder, None)(ids, torch.ones_like(ids))[1])


def test_the_last_layers_of_a_cut_model_are_those_that_are_left(make_bert: Any) -> None:
    folder = make_bert(layers=4)
    states, _ = states_of(folder, IDS[:1])

    tokens, _ = load_text_backbone(folder, 3, 2)(IDS[:1], MASK[:1].long())

    torch.testing.assert_close(tokens, torch.cat([states[2], states[3]], dim=-1))


@pytest.fixture
def make_bert(tmp_path: Path) -> Callable[..., Path]:
    """`make_bert(layers)` saves a BERT of width 8 with as many layers."""

    def make(layers: int) -> Path:
        from transformers import BertConfig, BertModel

        torch.manual_seed(0)
        wide = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 8}
        BertModel(BertConfig(vocab_size=20, num_hidden_layers=layers, **wide)).save_pretrained(
            tmp_path / "bert"
        )
        return tmp_path / "bert"

    return make


@pytest.mark.parametrize(("layers", "available"), [(None, 2), (1, 1)])
@pytest.mark.parametrize("name", ["tiny_bert", "tiny_clip"])
def test_more_layers_than_there_are_cannot_be_read(
    request: pytest.FixtureRequest, name: str, layers: int | None, available: int
) -> None:
    message = (
        f"encoders.text.read_layers: expected at most {available}, the layers of the encoder,"
        f" found {available + 1}. Set encoders.text.read_layers={available} or less."
    )
    with pytest.raises(EncoderError, match=f"^{re.escape(message)}$"):
        load_text_backbone(request.getfixturevalue(name), layers, available + 1)


@pytest.mark.parametrize("pooling", ["mean", "max", "cls"])
def test_inside_the_model_only_the_last_layer_is_pooled(tiny_bert: Path, pooling: Pooling) -> None:
    several = TextEncoder(load_text_backbone(tiny_bert, None, 2), pooling)(IDS, MASK)
    one = TextEncoder(load_text_backbone(tiny_bert, None), pooling)(IDS, MASK)

    assert several.tokens is not None and one.tokens is not None
    assert several.tokens.shape == (*MASK.shape, TOKEN_DIM)
    assert torch.equal(several.pooled, one.pooled)
    assert torch.equal(several.tokens[..., DIM:], one.tokens)
    assert not several.tokens[~MASK].any()


@pytest.mark.parametrize("pooling", ["mean", "max", "cls"])
def test_a_frozen_encoder_pools_the_last_layer_alone(
    tiny_bert: Path, tmp_path: Path, never_exported: None, pooling: Pooling
) -> None:
    encoder = text_encoder(tiny_bert, tmp_path, pooling=pooling)

    (item,) = encoder.encode(encoder.tokenizer(["awful rain again"]))

    assert item.tokens is not None and item.tokens.shape[1] == TOKEN_DIM
    last = torch.from_numpy(item.tokens[None, :, DIM:])
    expected = pool(last, torch.ones(last.shape[:2], dtype=torch.bool), pooling)
    torch.testing.assert_close(torch.from_numpy(item.pooled), expected[0])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny_bert", "tiny_clip"])
def test_an_exported_encoder_gives_the_layers_of_torch(
    request: pytest.FixtureRequest, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frozen, "_remembered", lambda choice: "onnxruntime")
    folder = request.getfixturevalue(name)
    encoder = text_encoder(folder, tmp_path)

    found = encoder.encode(IDS[:1, :4].tolist() * 3)

    ids = IDS[:1, :4]
    with torch.inference_mode():
        tokens, _ = load_text_backbone(folder, None, 2)(ids, torch.ones_like(ids))
    assert [file.suffix for file in sorted((tmp_path / "onnx").iterdir())] == [
        ".json",
        ".onnx",
        ".sum",
    ]
    assert all(np.abs(item.tokens - tokens[0].numpy()).max() < NEAR for item in found)


def test_one_layer_keeps_the_name_that_features_are_found_under(tiny_bert: Path) -> None:
    one, two = text_encoder(tiny_bert, read_layers=1), text_encoder(tiny_bert)

    weights, layers, *policy = one.key.removeprefix("text-").split("-")
    assert (len(weights), layers, policy) == (32, "all", ["mean", "16", "raw"])
    assert two.key == f"text-{weights}-all-read2-mean-16-raw"


@pytest.fixture
def posts() -> Posts:
    return posts_of_texts(["what a day", None, "bus"], "posts")


def test_the_store_keeps_wide_tokens_and_narrow_vectors(
    posts: Posts, tiny_bert: Path, tmp_path: Path, never_exported: None
) -> None:
    encoder = text_encoder(tiny_bert, tmp_path)

    batch = encode_texts(posts, encoder, with_tokens=True, threads=1).batch(np.arange(3))

    assert batch.tokens is not None and batch.mask is not None
    assert batch.pooled.shape == (3, DIM) and batch.tokens.shape == (3, 5, TOKEN_DIM)
    assert batch.mask.sum(dim=1).tolist() == [5, 0, 3]
    mean = batch.tokens[2, :3, DIM:].mean(dim=0)
    torch.testing.assert_close(batch.pooled[2], mean, atol=2e-3, rtol=0)


def make_branch() -> Branch:
    torch.manual_seed(0)
    branch = Branch(None, DIM, token_dim=TOKEN_DIM)
    torch.nn.init.normal_(branch.missing)
    branch.standardize_tokens_with(torch.randn(TOKEN_DIM), torch.rand(TOKEN_DIM) + 0.5)
    return branch


def test_a_branch_scales_wide_tokens_with_statistics_of_their_own() -> None:
    branch, tokens = make_branch(), torch.randn(2, 3, TOKEN_DIM)
    present = torch.ones(2, dtype=torch.bool)

    given = branch(Embeddings(torch.randn(2, DIM), present, tokens, present[:, None].expand(2, 3)))

    expected = (tokens - branch.token_mean) / branch.token_deviation
    torch.testing.assert_close(given.tokens, expected, rtol=0, atol=rounding(2, scale=4))


def test_the_token_of_a_missing_text_is_its_vector_once_a_layer() -> None:
    branch, present = make_branch(), torch.tensor([False])
    nothing = torch.zeros(1, 3, TOKEN_DIM)

    given = branch(Embeddings(torch.zeros(1, DIM), present, nothing, torch.zeros(1, 3).bool()))

    assert torch.equal(given.pooled[0], branch.missing)
    assert torch.equal(given.tokens[0, 0], torch.cat([branch.missing, branch.missing]))
    assert given.mask.tolist() == [[True, False, False]]


@pytest.mark.parametrize("trainable", [False, True])
def test_a_model_of_several_layers_has_a_branch_of_their_width(
    tiny_bert: Path, trainable: bool
) -> None:
    config = config_of(tiny_bert, trainable=trainable)

    branch = build_model(config, load_encoders(config, DIM, 7), classes=3).text

    assert branch is not None and branch.dim == DIM
    assert branch.missing.shape == (DIM,) and branch.token_mean.shape == (TOKEN_DIM,)
    if trainable:
        assert branch.encoder is not None
        assert branch.encoder(IDS, MASK).tokens.shape[-1] == TOKEN_DIM
