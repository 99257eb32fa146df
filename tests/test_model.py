"""The model treats every post alone and fills in what a post lacks."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from postsense.encoders.backbone import TextEncoder, load_text_backbone
from postsense.encoders.embeddings import Embeddings
from postsense.fusion.concat import Concat
from postsense.fusion.cross_attention import CrossAttention
from postsense.inputs.batches import PostBatch, TokenIds
from postsense.model.post_model import Branch, PostModel

TEXT_DIM, IMAGE_DIM, HIDDEN, CLASSES = 4, 3, 6, 3


def modality(lengths: tuple[int, ...], dim: int, seed: int) -> Embeddings:
    """Random features, zero beyond a sequence's end; a length of 0 is a missing modality."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(max(1, *lengths))[None, :] < torch.tensor(lengths)[:, None]
    tokens = torch.randn(*mask.shape, dim, generator=generator) * mask[..., None]
    present = mask.any(dim=1)
    pooled = torch.randn(len(lengths), dim, generator=generator) * present[:, None]
    return Embeddings(pooled, present, tokens, mask)


# The posts: whole, whole, no picture, no text, neither.
BATCH = PostBatch(
    {
        "text": modality((4, 2, 3, 0, 0), TEXT_DIM, seed=1),
        "image": modality((2, 5, 0, 3, 0), IMAGE_DIM, seed=2),
    }
)


def make_branch(dim: int) -> Branch:
    branch = Branch(None, dim)
    nn.init.normal_(branch.missing)
    branch.standardize_with(torch.randn(dim), torch.rand(dim) + 0.5)
    branch.standardize_tokens_with(torch.randn(dim), torch.rand(dim) + 0.5)
    return branch


def make_model(fusion: str) -> PostModel:
    torch.manual_seed(0)
    text, image = make_branch(TEXT_DIM), make_branch(IMAGE_DIM)
    head = nn.Sequential(nn.Dropout(0.5), nn.Linear(HIDDEN, CLASSES))
    if fusion == "concat":
        return PostModel(text, image, Concat(TEXT_DIM, IMAGE_DIM, HIDDEN, 0.3), head).eval()
    attention = CrossAttention(TEXT_DIM, IMAGE_DIM, HIDDEN, 0.3, "mean")
    return PostModel(text, image, attention, head).eval()


def alone(part: object, post: int) -> Embeddings:
    """One post of a batch without the padding that the others made necessary."""
    assert isinstance(part, Embeddings) and part.mask is not None and part.tokens is not None
    length = max(1, int(part.mask[post].sum()))
    one = slice(post, post + 1)
    return Embeddings(
        part.pooled[one], part.present[one], part.tokens[one, :length], part.mask[one, :length]
    )


@pytest.mark.parametrize("fusion", ["concat", "cross_attention"])
def test_a_post_does_not_feel_the_others_in_its_batch(fusion: str) -> None:
    model = make_model(fusion)

    logits = model(BATCH).logits

    for post in range(5):
        batch = PostBatch({name: alone(part, post) for name, part in BATCH.read.items()})
        torch.testing.assert_close(model(batch).logits[0], logits[post])


@pytest.mark.parametrize("fusion", ["concat", "cross_attention"])
def test_posts_that_lack_something_get_finite_logits_and_gradients(fusion: str) -> None:
    model = make_model(fusion).train()

    logits = model(BATCH).logits
    logits.square().sum().backward()

    assert logits.isfinite().all()
    gradients = [weight.grad for weight in model.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


def test_present_features_are_standardised_each_kind_with_its_own_statistics() -> None:
    torch.manual_seed(0)
    branch, text = make_branch(TEXT_DIM), modality((3, 2), TEXT_DIM, seed=1)

    filled = branch(text)

    assert text.tokens is not None and filled.tokens is not None
    for post, length in enumerate((3, 2)):
        expected = (text.pooled[post] - branch.mean) / branch.deviation
        torch.testing.assert_close(filled.pooled[post], expected)
        states = (text.tokens[post, :length] - branch.token_mean) / branch.token_deviation
        torch.testing.assert_close(filled.tokens[post, :length], states)


def test_a_missing_modality_is_one_token_and_one_vector_that_are_learnt() -> None:
    torch.manual_seed(0)
    branch = make_branch(TEXT_DIM)

    filled = branch(modality((3, 0), TEXT_DIM, seed=1))

    assert filled.mask is not None and filled.tokens is not None
    assert filled.mask.tolist() == [[True, True, True], [True, False, False]]
    assert torch.equal(filled.pooled[1], branch.missing)
    assert torch.equal(filled.tokens[1, 0], branch.missing)
    assert filled.present.tolist() == [True, False]


def test_vectors_alone_are_filled_too() -> None:
    torch.manual_seed(0)
    branch, text = make_branch(TEXT_DIM), modality((3, 0), TEXT_DIM, seed=1)

    filled = branch(replace(text, tokens=None, mask=None))

    assert torch.equal(filled.pooled[1], branch.missing)
    assert filled.tokens is None


def test_before_training_a_missing_modality_is_the_average_post() -> None:
    branch, text = Branch(None, 2), modality((1, 1, 0), 2, seed=1)
    branch.standardize_with(text.pooled[:2].mean(dim=0), torch.ones(2))

    filled = branch(text).pooled

    torch.testing.assert_close(filled[2], filled[:2].mean(dim=0))


@pytest.mark.parametrize("missing", ["text", "image"])
def test_the_vector_of_a_missing_modality_learns(missing: str) -> None:
    model = make_model("cross_attention")

    model(BATCH).logits.sum().backward()

    gradient = getattr(model, missing).missing.grad
    assert gradient is not None and gradient.abs().sum() > 0


def test_the_output_tells_what_the_fusion_read() -> None:
    model = make_model("concat")

    output = model(BATCH)

    assert torch.equal(output.fused, model.fusion(*output.read.values()).fused)
    assert torch.equal(output.logits, model.head(output.fused))


def test_a_model_without_a_branch_does_not_read_that_modality() -> None:
    torch.manual_seed(0)
    model = PostModel(
        None,
        make_branch(IMAGE_DIM),
        Concat(None, IMAGE_DIM, HIDDEN, 0.0),
        nn.Linear(HIDDEN, CLASSES),
    ).eval()

    output = model(BATCH)

    assert "text" not in output.read
    assert torch.equal(output.logits, model(PostBatch({"image": BATCH["image"]})).logits)


def test_statistics_are_saved_with_the_weights_and_are_not_trained() -> None:
    trained, fresh = make_model("concat"), make_model("concat")
    assert fresh.text is not None and trained.text is not None
    fresh.text.standardize_with(torch.zeros(TEXT_DIM), torch.ones(TEXT_DIM))

    fresh.load_state_dict(trained.state_dict())

    assert torch.equal(fresh.text.mean, trained.text.mean)
    assert not any("mean" in name or "deviation" in name for name, _ in trained.named_parameters())


def token_ids(*rows: list[int]) -> TokenIds:
    length = max(1, *map(len, rows))
    ids = torch.tensor([[*row, *[0] * (length - len(row))] for row in rows])
    return TokenIds(ids, torch.tensor([[n < len(row) for n in range(length)] for row in rows]))


@pytest.fixture
def trained_text(tiny_bert: Path) -> PostModel:
    torch.manual_seed(0)
    branch = Branch(TextEncoder(load_text_backbone(tiny_bert, None), "mean"), 16)
    return PostModel(branch, None, Concat(16, None, HIDDEN, 0.0), nn.Linear(HIDDEN, CLASSES)).eval()


def test_a_trained_encoder_runs_in_the_model_and_learns(trained_text: PostModel) -> None:
    before = {name: value.clone() for name, value in trained_text.named_parameters()}
    optimizer = torch.optim.SGD(trained_text.parameters(), lr=0.1)

    trained_text(
        PostBatch({"text": token_ids([2, 4, 5, 3], [2, 6, 3])})
    ).logits.square().sum().backward()
    optimizer.step()

    moved = {
        name for name, value in trained_text.named_parameters() if not value.equal(before[name])
    }
    assert "text.encoder.backbone.model.encoder.layer.0.output.dense.weight" in moved
    assert "text.encoder.backbone.model.embeddings.word_embeddings.weight" in moved


def test_a_trained_encoder_does_not_mix_posts(trained_text: PostModel) -> None:
    rows: list[list[int]] = [[2, 4, 5, 6, 3], [2, 6, 3], []]

    together: Tensor = trained_text(PostBatch({"text": token_ids(*rows)})).logits

    for post, row in enumerate(rows):
        single = trained_text(PostBatch({"text": token_ids(row, row)})).logits[0]
        torch.testing.assert_close(single, together[post], rtol=1e-4, atol=1e-5)
    assert together.isfinite().all()
