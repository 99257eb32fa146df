"""Word networks are their papers' equations, whatever else is in the batch."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from postsense.config import Config, TextEncoderSettings
from postsense.config.loading import parse_config
from postsense.encoders.backbone import TextEncoder
from postsense.encoders.embeddings import Embeddings
from postsense.encoders.word_networks import BilstmNetwork, CnnNetwork, load_word_network
from postsense.errors import EncoderError
from postsense.inputs.batches import PostBatch, TokenIds
from postsense.model.build import build_model, load_encoders
from tolerances import double_precision

IDS = torch.tensor([[2, 4, 5, 6, 7, 8, 3], [2, 7, 3, 0, 0, 0, 0], [5, 0, 0, 0, 0, 0, 0]])
MASK = IDS != 0
LENGTHS = [7, 3, 1]
Network = CnnNetwork | BilstmNetwork
networks = pytest.mark.parametrize("kind", [CnnNetwork, BilstmNetwork])


def network_of(kind: Callable[[nn.Embedding], Network]) -> Network:
    torch.manual_seed(0)
    return kind(nn.Embedding(12, 6)).eval()


def settings_of(folder: Path, network: str, **more: Any) -> TextEncoderSettings:
    return TextEncoderSettings(name=str(folder), network=network, trainable=True, **more)  # type: ignore[arg-type]


def naive_responses(network: CnnNetwork, ids: Tensor) -> Tensor:
    """(T, 300): Kim 2014, eq. 2, one window at a time; beyond the ends of the text are zeros."""
    words, rows = network.words(ids), []
    for place in range(len(ids)):
        row = []
        for convolution in network.convolutions:
            assert isinstance(convolution, nn.Conv1d) and convolution.bias is not None
            total = convolution.bias.clone()
            width = convolution.kernel_size[0]
            for offset in range(width):
                read = place - (width - 1) // 2 + offset
                if 0 <= read < len(ids):
                    total = total + convolution.weight[:, :, offset] @ words[read]
            row.append(total.clamp(min=0))
        rows.append(torch.cat(row))
    return torch.stack(rows)


def naive_states(lstm: nn.LSTM, words: Tensor, suffix: str) -> list[Tensor]:
    """One direction, word by word, with the gates of Gers et al. 2000."""
    weight, recurrent = (
        getattr(lstm, f"weight_ih_l0{suffix}"),
        getattr(lstm, f"weight_hh_l0{suffix}"),
    )
    bias = getattr(lstm, f"bias_ih_l0{suffix}") + getattr(lstm, f"bias_hh_l0{suffix}")
    hidden = cell = torch.zeros(lstm.hidden_size)
    states = []
    for word in words:
        enter, forget, new, leave = (weight @ word + recurrent @ hidden + bias).chunk(4)
        cell = forget.sigmoid() * cell + enter.sigmoid() * new.tanh()
        hidden = leave.sigmoid() * cell.tanh()
        states.append(hidden)
    return states


@double_precision
@pytest.mark.parametrize("row", [0, 1, 2])
def test_the_cnn_gives_each_filters_highest_response(row: int) -> None:
    network, length = network_of(CnnNetwork), LENGTHS[row]
    assert isinstance(network, CnnNetwork)
    expected = naive_responses(network, IDS[row, :length])

    responses, class_vector = network(IDS, MASK)

    torch.testing.assert_close(responses[row, :length], expected)
    torch.testing.assert_close(class_vector[row], expected.amax(dim=0))


@double_precision
@pytest.mark.parametrize("row", [0, 1, 2])
def test_the_bilstm_weighs_its_states_by_attention(row: int) -> None:
    network, length = network_of(BilstmNetwork), LENGTHS[row]
    assert isinstance(network, BilstmNetwork)
    words = network.words(IDS[row, :length])
    backward = naive_states(network.lstm, words.flip(0), "_reverse")[::-1]
    forward = naive_states(network.lstm, words, "")
    pairs = zip(forward, backward, strict=True)
    expected = torch.stack([torch.cat(pair) for pair in pairs])  # H^T, (T, 300)
    alpha = torch.softmax(expected.tanh() @ network.score.weight[0], dim=0)  # eqs. 9-10

    states, class_vector = network(IDS, MASK)

    torch.testing.assert_close(states[row, :length], expected)
    torch.testing.assert_close(class_vector[row], (alpha @ expected).tanh())  # eqs. 11-12


@double_precision
@networks
def test_a_text_gets_the_same_alone_and_among_longer_texts(
    kind: Callable[[nn.Embedding], Network],
) -> None:
    network = network_of(kind)
    together, together_class = network(IDS, MASK)

    for row, length in enumerate(LENGTHS):
        alone, alone_class = network(IDS[row : row + 1, :length], MASK[row : row + 1, :length])
        torch.testing.assert_close(together[row, :length], alone[0], rtol=0, atol=1e-6)
        torch.testing.assert_close(together_class[row], alone_class[0], rtol=0, atol=1e-6)


@networks
def test_what_stands_in_the_padding_does_not_matter(
    kind: Callable[[nn.Embedding], Network],
) -> None:
    network = network_of(kind)

    states, class_vector = network(IDS, MASK)
    others, other_class = network(IDS.where(MASK, 9), MASK)

    assert torch.equal(states, others) and torch.equal(class_vector, other_class)
    assert not states[~MASK].any()


def test_the_lstm_stays_in_single_precision_beside_products_that_do_not() -> None:
    network = network_of(BilstmNetwork)
    narrowed = list[bool]()
    network.lstm.register_forward_pre_hook(
        lambda *_: narrowed.append(torch.is_autocast_enabled("cpu"))
    )

    with torch.autocast("cpu", torch.bfloat16):
        _, vector = network(IDS, MASK)

    assert narrowed == [False]
    assert torch.allclose(vector.float(), network(IDS, MASK)[1], atol=0.02)


def test_a_padded_position_never_wins() -> None:
    network = network_of(CnnNetwork)
    for name, weight in network.named_parameters():
        positive = name.endswith("bias") or name.startswith("words")
        nn.init.constant_(weight, 1.0 if positive else -1.0)

    _, class_vector = network(IDS, MASK)

    assert not class_vector.any()  # a window of padding alone would respond with its bias, 1


@networks
def test_dropout_is_over_the_class_vector_in_training_alone(
    kind: Callable[[nn.Embedding], Network],
) -> None:
    network = network_of(kind)
    _, kept = network(IDS, MASK)
    _, dropped = network.train()(IDS, MASK)

    share = ((dropped == 0) & (kept != 0)).sum() / (kept != 0).sum()
    assert 0.4 < share < 0.6


@networks
def test_a_post_without_text_is_absent_with_a_finite_gradient(
    kind: Callable[[nn.Embedding], Network],
) -> None:
    encoder = TextEncoder(network_of(kind), "cls")
    mask = MASK.clone()
    mask[2] = False

    embeddings = encoder(IDS, mask)
    embeddings.pooled.sum().backward()

    assert embeddings.present.tolist() == [True, True, False]
    assert not embeddings.pooled[2].any() and embeddings.pooled[:2].any(dim=1).all()
    gradients = [weight.grad for weight in encoder.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("network", ["cnn", "bilstm"])
@pytest.mark.parametrize("checkpoint", ["tiny_bert", "tiny_clip"])
def test_the_words_are_the_checkpoints_and_nothing_else_of_it_is_kept(
    network: str, checkpoint: str, request: pytest.FixtureRequest
) -> None:
    folder: Path = request.getfixturevalue(checkpoint)
    loaded = load_word_network(folder, settings_of(folder, network))

    [table] = [
        weight
        for name, weight in load_file(folder / "model.safetensors").items()
        if name.endswith(("word_embeddings.weight", "token_embedding.weight"))
    ]
    assert torch.equal(loaded.words.weight, table)
    assert not any(part.__module__.startswith("transformers") for part in loaded.modules())
    assert all(weight.requires_grad for weight in loaded.parameters())
    assert not any(part.training for part in loaded.modules())


@pytest.fixture
def config(tiny_bert: Path) -> Config:
    text = settings_of(tiny_bert, "bilstm", max_length=16, pooling="cls")
    return parse_config({"encoders": {"text": text.model_dump()}, "fusion": {"name": "text_only"}})


def test_a_saved_network_is_rebuilt_without_the_pretrained_weights(config: Config) -> None:
    trained = load_encoders(config, None, None)
    rebuilt = load_encoders(config, None, None, pretrained=False)
    assert trained.text is not None and rebuilt.text is not None
    assert (trained.text_dim, rebuilt.text_dim) == (300, 300)
    assert not torch.equal(rebuilt.text(IDS, MASK).pooled, trained.text(IDS, MASK).pooled)

    rebuilt.text.load_state_dict(trained.text.state_dict())

    assert torch.equal(rebuilt.text(IDS, MASK).pooled, trained.text(IDS, MASK).pooled)


@pytest.mark.parametrize("network", ["cnn", "bilstm"])
@pytest.mark.parametrize("fusion", ["concat", "cross_attention", "co_memory"])
def test_fusions_that_read_tokens_read_those_of_a_word_network(
    fusion: str, network: str, tiny_bert: Path
) -> None:
    text = settings_of(tiny_bert, network, max_length=16, pooling="cls").model_dump()
    settings = parse_config({"encoders": {"text": text}, "fusion": {"name": fusion, "hidden": 8}})
    model = build_model(settings, load_encoders(settings, None, 7), classes=3)
    regions, shown = torch.randn(3, 4, 7), torch.ones(3, dtype=torch.bool)
    image = Embeddings(regions.mean(dim=1), shown, regions, shown[:, None].expand(3, 4))

    logits = model(PostBatch({"text": TokenIds(IDS, MASK), "image": image})).logits
    logits.square().sum().backward()

    assert model.text is not None and model.text.encoder is not None
    assert all(weight.grad is not None for weight in model.text.encoder.parameters())
    assert logits.isfinite().all()


def test_the_same_seed_makes_the_same_network(tiny_bert: Path) -> None:
    made = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        made.append(load_word_network(tiny_bert, settings_of(tiny_bert, "cnn")).state_dict())

    assert all(torch.equal(made[0][name], made[1][name]) for name in made[0])
    assert not torch.equal(made[0]["convolutions.0.weight"], made[2]["convolutions.0.weight"])


def test_a_checkpoint_without_words_is_refused(tiny_vit: Path) -> None:
    message = "encoders.text.name: expected a model that reads text, found 'ViTModel'"
    with pytest.raises(EncoderError, match=message):
        load_word_network(tiny_vit, settings_of(tiny_vit, "cnn"))


@pytest.mark.parametrize("setting", ["layers", "frozen_layers"])
def test_there_are_no_layers_to_cut_or_to_freeze(tiny_bert: Path, setting: str) -> None:
    message = (
        rf"encoders\.text\.{setting}: expected no transformer layers in network 'cnn', found 1"
    )
    with pytest.raises(EncoderError, match=message):
        load_word_network(tiny_bert, settings_of(tiny_bert, "cnn", **{setting: 1}))
