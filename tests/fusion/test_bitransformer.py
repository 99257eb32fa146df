"""The bitransformer reads picture and words as one sequence; comments beside them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from made_tokens import token_ids
from torch import Tensor, nn

from postsense.encoders.backbone import TextBackbone, load_text_backbone
from postsense.encoders.embeddings import Embeddings
from postsense.errors import EncoderError
from postsense.fusion.bitransformer import Bitransformer, EarlyComments
from postsense.inputs.batches import Comments, TokenIds

CLS, SEP = 2, 3
TEXTS: tuple[list[int], ...] = ([CLS, 5, 6, 7, SEP], [CLS, 8, SEP], [], [CLS, 4, 9, SEP])
REGIONS = (7, 2, 4, 0)
IMAGE_DIM, HIDDEN, PICTURE_TOKENS = 5, 6, 3
TINY = {
    "vocab_size": 20,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 24,
}


def pictures(lengths: tuple[int, ...] = REGIONS) -> Embeddings:
    """Random regions, garbage behind them; a post with none lacks its picture."""
    generator, longest = torch.Generator().manual_seed(1), max(1, *lengths)
    mask = torch.arange(longest)[None, :] < torch.tensor(lengths)[:, None]
    tokens = torch.randn(len(lengths), longest, IMAGE_DIM, generator=generator)
    pooled = torch.randn(len(lengths), IMAGE_DIM, generator=generator)
    return Embeddings(pooled, mask.any(dim=1), torch.where(mask[..., None], tokens, 1e3), mask)


def take(texts: TokenIds, image: Embeddings, post: int) -> tuple[TokenIds, Embeddings]:
    """One post of a batch, without padding."""
    assert image.tokens is not None and image.mask is not None
    words, regions = max(1, len(TEXTS[post])), max(1, REGIONS[post])
    one = slice(post, post + 1)
    alone = Embeddings(
        image.pooled[one],
        image.present[one],
        image.tokens[one, :regions],
        image.mask[one, :regions],
    )
    return TokenIds(texts.ids[one, :words], texts.mask[one, :words]), alone


@pytest.fixture
def make_fusion(tiny_bert: Path) -> Callable[..., Bitransformer]:
    def make(input_dropout: float = 0.3) -> Bitransformer:
        torch.manual_seed(0)
        backbone = load_text_backbone(tiny_bert, None)
        fusion = Bitransformer(backbone, IMAGE_DIM, HIDDEN, input_dropout, PICTURE_TOKENS)
        nn.init.normal_(fusion.missing_text)
        return fusion.eval()

    return make


def picture_vectors(image: Embeddings, post: int) -> list[Tensor]:
    """Up to three vectors: the regions, or means of thirds of them, or the pooled vector."""
    if not image.present[post]:
        return []
    if image.tokens is None:
        return [image.pooled[post]]
    count, thirds = REGIONS[post], list[list[Tensor]]([[], [], []])
    for place in range(count):
        third = place * 3 // count if count > 3 else place
        thirds[third].append(image.tokens[post, place])
    return [torch.stack(third).mean(dim=0) for third in thirds if third]


def naive_bitransformer(fusion: Bitransformer, image: Embeddings, post: int) -> Tensor:
    """The sequence of one post by hand, [CLS] first: position and segment say what is where."""
    model: Any = fusion.backbone.model
    words = model.get_input_embeddings()
    shown = [fusion.picture.project(vector) for vector in picture_vectors(image, post)]
    told = [words(torch.tensor(token)) for token in TEXTS[post]] or [fusion.missing_text]
    sequence = torch.stack([told[0], *shown, *told[1:]])
    states = model(
        inputs_embeds=sequence[None],
        attention_mask=torch.ones(1, len(sequence), dtype=torch.long),
        position_ids=torch.tensor([[0, *range(1, len(shown) + 1), *range(1, len(told))]]),
        token_type_ids=torch.tensor([[0] * (1 + len(shown)) + [1] * (len(told) - 1)]),
    ).last_hidden_state
    return torch.tanh(fusion.project(states[0, 0]))


@pytest.mark.parametrize("with_regions", [True, False])
def test_it_equals_the_sequence_built_by_hand(
    make_fusion: Callable[..., Bitransformer], with_regions: bool
) -> None:
    fusion, image = make_fusion(), pictures()
    image = image if with_regions else replace(image, tokens=None, mask=None)

    fused = fusion(token_ids(TEXTS), image).fused

    for post in range(4):
        torch.testing.assert_close(fused[post], naive_bitransformer(fusion, image, post))


def test_a_post_alone_gets_what_it_gets_among_longer_posts(
    make_fusion: Callable[..., Bitransformer],
) -> None:
    fusion, texts, image = make_fusion(), token_ids(TEXTS, length=9), pictures()

    fused = fusion(texts, image).fused

    for post in range(4):
        alone = fusion(*take(texts, image, post)).fused
        torch.testing.assert_close(fused[post : post + 1], alone)


def test_picture_and_words_both_matter_and_only_where_they_are(
    make_fusion: Callable[..., Bitransformer],
) -> None:
    fusion, texts, image = make_fusion(), token_ids(TEXTS), pictures()
    assert image.tokens is not None
    fused = fusion(texts, image).fused

    repainted = fusion(texts, replace(image, tokens=image.tokens + 1)).fused
    reworded = fusion(replace(texts, ids=texts.ids + 1), image).fused

    assert torch.equal((repainted != fused).any(dim=1), image.present)
    assert torch.equal((reworded != fused).any(dim=1), texts.mask.any(dim=1))


def test_a_post_of_nothing_is_finite(make_fusion: Callable[..., Bitransformer]) -> None:
    fusion = make_fusion()

    fused = fusion(token_ids([[], []]), pictures((0, 0))).fused

    assert fused.isfinite().all()


def test_every_weight_it_uses_learns_with_finite_gradients(
    make_fusion: Callable[..., Bitransformer],
) -> None:
    fusion = make_fusion().train()

    fusion(token_ids(TEXTS), pictures()).fused.square().sum().backward()

    for name, weight in fusion.named_parameters():
        if ".pooler." in name:
            continue  # the class token has a layer of its own
        assert weight.grad is not None and weight.grad.isfinite().all(), name
        assert weight.grad.abs().sum() > 0 or name.endswith("key.bias"), name


def test_it_learns_eight_posts_by_heart(make_fusion: Callable[..., Bitransformer]) -> None:
    """Labels that neither modality tells alone: the exclusive or of a word and a picture."""
    fusion, head = make_fusion(input_dropout=0.0), nn.Linear(HIDDEN, 2)
    words, shown = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]), torch.tensor([0, 1, 0, 1, 0, 1, 0, 1])
    texts = token_ids([[CLS, 5 + int(word), 7 + n % 4 // 2, SEP] for n, word in enumerate(words)])
    vectors = torch.randn(8, IMAGE_DIM, generator=torch.Generator().manual_seed(3)) * 0.1
    image = Embeddings(vectors + (shown * 2 - 1)[:, None], torch.ones(8, dtype=torch.bool))
    labels = words ^ shown
    optimizer = torch.optim.AdamW([*fusion.parameters(), *head.parameters()], lr=5e-3)

    for _ in range(60):
        loss = nn.functional.cross_entropy(head(fusion(texts, image).fused), labels)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()

    assert torch.equal(head(fusion(texts, image).fused).argmax(dim=1), labels)


def test_each_modality_alone_knows_nothing_of_the_other(
    make_fusion: Callable[..., Bitransformer],
) -> None:
    fusion, texts, image = make_fusion(), token_ids(TEXTS), pictures()
    assert image.tokens is not None
    repainted = replace(image, tokens=image.tokens + 1, pooled=image.pooled + 1)

    told, shown = fusion.unimodal(texts, image)

    assert torch.equal(fusion.unimodal(texts, repainted)[0], told)
    assert torch.equal(fusion.unimodal(replace(texts, ids=texts.ids + 1), image)[1], shown)
    assert torch.equal(shown, image.pooled)
    assert (told.shape[1], shown.shape[1]) == fusion.unimodal_dims == (16, IMAGE_DIM)


def test_the_words_alone_are_read_as_in_a_post_without_picture(
    make_fusion: Callable[..., Bitransformer],
) -> None:
    fusion, texts = make_fusion(), token_ids(TEXTS)

    told, _ = fusion.unimodal(texts, pictures())

    expected = fusion(texts, pictures((0, 0, 0, 0))).fused
    torch.testing.assert_close(torch.tanh(fusion.project(told)), expected)


def test_words_alone_teach_the_text_encoder_and_pictures_theirs(
    make_fusion: Callable[..., Bitransformer],
) -> None:
    fusion, image = make_fusion(), pictures()
    image.pooled.requires_grad_()

    told, shown = fusion.unimodal(token_ids(TEXTS), image)
    (told.square().sum() + shown.square().sum()).backward()

    model: Any = fusion.backbone.model
    assert model.get_input_embeddings().weight.grad[TEXTS[0][1]].abs().sum() > 0
    assert image.pooled.grad is not None and image.pooled.grad.abs().sum() > 0


SETTINGS: dict[str, dict[str, int]] = {
    "Bert": TINY,
    "Electra": {**TINY, "embedding_size": 8},
    "Roberta": {**TINY, "pad_token_id": 1, "type_vocab_size": 1},
    "MPNet": {**TINY, "pad_token_id": 1},
    "DistilBert": {"vocab_size": 20, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32},
}


@pytest.mark.parametrize("kind", sorted(SETTINGS))
def test_words_alone_are_read_as_the_model_reads_them(kind: str) -> None:
    import transformers

    config = getattr(transformers, f"{kind}Config")(**SETTINGS[kind])
    torch.manual_seed(0)
    model = getattr(transformers, f"{kind}Model")(config).eval()
    fusion = Bitransformer(TextBackbone(model), IMAGE_DIM, HIDDEN, 0.0).eval()
    texts, image = token_ids([[CLS, 5, 6, SEP], [CLS, 7, SEP]]), pictures((0, 2))
    image = replace(image, present=torch.zeros(2, dtype=torch.bool))
    two = {"token_type_ids": torch.tensor([[0, 1, 1]])} if kind in ("Bert", "Electra") else {}

    fused = fusion(texts, image).fused[1]

    state = model(input_ids=texts.ids[1:, :3], **two).last_hidden_state[0, 0]
    torch.testing.assert_close(fused, torch.tanh(fusion.project(state)))


def test_a_model_that_reads_no_embeddings_is_refused(tiny_clip: Path) -> None:
    backbone = load_text_backbone(tiny_clip, None)

    with pytest.raises(EncoderError, match=r"^encoders\.text\.name: .*'bitransformer'.*'CLIP"):
        Bitransformer(backbone, IMAGE_DIM, HIDDEN, 0.0)


COMMENTS: tuple[list[list[int]], ...] = (
    [[CLS, 5, SEP], [CLS, 6, 7, SEP]],
    [[CLS, 9, SEP], []],
    [[], []],
    [[CLS, 8, SEP], []],
)


def comments() -> Comments:
    present = torch.tensor([[bool(text) for text in row] for row in COMMENTS])
    return Comments(token_ids([text for row in COMMENTS for text in row]), present)


@pytest.fixture
def early(make_fusion: Callable[..., Bitransformer]) -> EarlyComments:
    fusion = make_fusion()
    return EarlyComments(fusion, HIDDEN + 2).eval()


def naive_early(fusion: EarlyComments, post: Tensor, encoded: list[Tensor]) -> Tensor:
    """Xu & Li 2022, eq. 7, for one post: z_n = FFN([h; c_n]), softmax, u = sum beta_n c_n."""
    exponents = [fusion.score(torch.cat([post, comment])).exp() for comment in encoded]
    hint = torch.zeros_like(post)
    for exponent, comment in zip(exponents, encoded):
        hint = hint + exponent / sum(exponents) * comment
    fused: Tensor = fusion.project(torch.cat([hint, post]))
    return fused


def test_early_comments_equal_the_equation(early: EarlyComments) -> None:
    texts, image, given = token_ids(TEXTS), pictures(), comments()

    joined = early(texts, image, comments=given)

    for post in range(4):
        words, picture = take(texts, image, post)
        encoded = [
            early.fusion(token_ids([text]), picture).fused[0] for text in COMMENTS[post] if text
        ]
        alone = early.fusion(words, picture).fused[0]
        torch.testing.assert_close(joined.fused[post], naive_early(early, alone, encoded))
    assert joined.comment_weights is not None
    sums = joined.comment_weights.sum(dim=1)
    torch.testing.assert_close(sums, torch.tensor([1.0, 1.0, 0.0, 1.0]))
    assert (joined.comment_weights[~given.present] == 0).all()


def test_a_comment_without_words_does_not_count(early: EarlyComments) -> None:
    texts, image, given = token_ids(TEXTS), pictures(), comments()

    claimed = early(texts, image, replace(given, present=torch.ones(4, 2, dtype=torch.bool)))

    torch.testing.assert_close(claimed.fused, early(texts, image, given).fused)


def test_posts_without_any_comment_are_read_without_a_hint(early: EarlyComments) -> None:
    texts, image = token_ids(TEXTS), pictures()
    none = Comments(token_ids([[]] * 8), torch.zeros(4, 2, dtype=torch.bool))

    joined = early(texts, image, none)
    joined.fused.sum().backward()

    posts = early.fusion(texts, image).fused
    expected = early.project(torch.cat([torch.zeros_like(posts), posts], dim=1))
    torch.testing.assert_close(joined.fused, expected)
    grads = [p.grad for p in early.parameters() if p.grad is not None]
    assert grads and all(grad.isfinite().all() for grad in grads)


def test_comments_teach_the_bitransformer_too(early: EarlyComments) -> None:
    texts, image = token_ids(TEXTS), pictures()
    joined = early(texts, image, comments())

    joined.fused.square().sum().backward()

    for name, weight in early.score.named_parameters():
        assert weight.grad is not None and weight.grad.abs().sum() > 0, name
    words: Any = early.fusion.backbone.model.get_input_embeddings()  # type: ignore[operator]
    assert words.weight.grad[TEXTS[3][1]].abs().sum() > 0  # a word of a post
    assert words.weight.grad[6].abs().sum() > 0
    assert all(p.grad.isfinite().all() for p in early.parameters() if p.grad is not None)
