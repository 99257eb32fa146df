"""What the model says of picture and words for the image-text losses."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from postsense.config import LossSettings
from postsense.encoders.embeddings import Embeddings
from postsense.fusion.attention import BilinearAttention
from postsense.fusion.comments import CommentVectors, WithComments
from postsense.fusion.concat import Concat
from postsense.fusion.cross_attention import CrossAttention
from postsense.fusion.joined import Joined
from postsense.inputs.batches import PostBatch
from postsense.losses.image_text import contrastive_term, matching_term
from postsense.model.alignment import Alignment
from postsense.model.post_model import Branch, PostModel

DIM, HIDDEN, POSTS = 4, 6, 5
SWAPS = torch.tensor([0, 3, 2, 4, 4])  # posts 1 and 3 with other words


def modality(seed: int) -> Embeddings:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(POSTS, 3, DIM, generator=generator)
    mask = torch.ones(POSTS, 3, dtype=torch.bool)
    return Embeddings(tokens.mean(dim=1), mask[:, 0], tokens, mask)


BATCH = PostBatch(
    {"text": modality(1), "image": modality(2)},
    contents=torch.arange(POSTS).repeat(2, 1).T,
    aligns=True,
    swaps=SWAPS,
)


def make_model(name: str = "concat", projection: int | None = None) -> PostModel:
    torch.manual_seed(0)
    width = projection or DIM
    fusion: nn.Module = Concat(width, width, HIDDEN, 0.3)
    if name == "cross_attention":
        fusion = CrossAttention(width, width, HIDDEN, 0.3, "mean")
    alignment = Alignment(width, width, None if projection else 8, 0.07)
    branches = Branch(None, DIM, projection), Branch(None, DIM, projection)
    return PostModel(
        *branches, fusion, nn.Linear(HIDDEN, 3), alignment, nn.Linear(HIDDEN, 2)
    ).eval()


@pytest.mark.parametrize("name", ["concat", "cross_attention"])
def test_a_swapped_post_is_judged_with_the_words_it_is_shown(name: str) -> None:
    model = make_model(name)
    assert model.match_head is not None and isinstance(BATCH["text"], Embeddings)

    output = model(BATCH)

    shown = replace(BATCH, read={**BATCH.read, "text": BATCH["text"].take(SWAPS)}, swaps=None)
    torch.testing.assert_close(output.match_logits, model.match_head(model(shown).fused))
    torch.testing.assert_close(output.logits, model(replace(BATCH, swaps=None)).logits)


def test_no_encoder_runs_a_second_time_and_only_swapped_posts_are_fused_again() -> None:
    model, calls = make_model(), list[tuple[str, int]]()
    assert model.text is not None and model.image is not None
    for part, name in ((model.text, "text"), (model.image, "image"), (model.fusion, "fusion")):
        part.register_forward_hook(
            lambda module, given, result, name=name: calls.append((name, _size(given[0])))
        )

    model(BATCH)

    assert calls == [("text", 5), ("image", 5), ("fusion", 5), ("fusion", 2)]


def _size(part: Embeddings) -> int:
    return len(part.pooled)


def test_without_a_swap_the_fused_vectors_of_the_posts_are_judged() -> None:
    model = make_model()
    assert model.match_head is not None

    output = model(replace(BATCH, swaps=torch.arange(POSTS)))

    torch.testing.assert_close(output.match_logits, model.match_head(output.fused))


def test_the_matching_head_never_sees_comments() -> None:
    model = make_model()
    attentions = nn.ModuleDict({part: BilinearAttention(DIM, HIDDEN) for part in ("text", "image")})
    model.fusion = WithComments(model.fusion, attentions, DIM, HIDDEN, 0.0).eval()
    nn.init.normal_(model.fusion.project.weight)
    model._comments = lambda given: given  # type: ignore[assignment,method-assign,return-value]
    outputs = [
        model(replace(BATCH, comments=CommentVectors(torch.randn(POSTS, 2, DIM), present)))
        for present in (torch.ones(POSTS, 2) > 0, torch.ones(POSTS, 2) > 0)
    ]

    assert not torch.allclose(outputs[0].logits, outputs[1].logits)
    torch.testing.assert_close(outputs[0].match_logits, outputs[1].match_logits)


def test_a_projection_is_what_the_fusion_reads_and_what_is_contrasted() -> None:
    model = make_model(projection=7)
    assert model.text is not None and isinstance(BATCH["text"], Embeddings)

    output = model(BATCH)

    projected = model.text.project(BATCH["text"].pooled)
    assert isinstance(output.read["text"], Embeddings) and output.aligned is not None
    torch.testing.assert_close(output.read["text"].pooled, projected)
    torch.testing.assert_close(output.aligned.text, projected)
    assert output.read["text"].tokens is not None and output.read["text"].tokens.shape == (
        POSTS,
        3,
        7,
    )


def test_posts_outside_training_are_not_asked() -> None:
    output = make_model()(replace(BATCH, aligns=False, swaps=None))

    assert output.aligned is None and output.match_logits is None


def test_posts_that_lack_a_modality_do_not_count_in_the_losses() -> None:
    model = make_model()
    assert isinstance(BATCH["text"], Embeddings)
    whole = torch.tensor([0, 1, 3, 4])  # post 2 has no text
    text = replace(BATCH["text"], present=torch.tensor([True, True, False, True, True]))
    lacking = replace(BATCH, read={**BATCH.read, "text": text})
    fewer = PostBatch({"text": BATCH["text"].take(whole), "image": modality(2).take(whole)})
    fewer = replace(
        fewer,
        aligns=True,
        contents=torch.arange(4).repeat(2, 1).T,
        swaps=torch.tensor([0, 2, 3, 3]),
    )

    for term in (
        contrastive_term(LossSettings(itc=0.5)).term,
        matching_term(LossSettings(itm=0.5)).term,
    ):
        torch.testing.assert_close(term(model(lacking), lacking), term(model(fewer), fewer))


def test_both_losses_reach_the_layers_below_the_fusion() -> None:
    for term in (
        contrastive_term(LossSettings(itc=0.5)).term,
        matching_term(LossSettings(itm=0.5)).term,
    ):
        model = make_model(projection=7)
        term(model(BATCH), BATCH).backward()
        assert model.text is not None and model.image is not None
        for branch in (model.text, model.image):
            assert float(branch.project.weight.grad.abs().sum()) > 0


def test_joined_vectors_before_comments_are_kept() -> None:
    fusion = Concat(DIM, DIM, HIDDEN, 0.0).eval()
    attentions = nn.ModuleDict({"text": BilinearAttention(DIM, HIDDEN)})
    wrapped = WithComments(fusion, attentions, DIM, HIDDEN, 0.0).eval()
    comments = CommentVectors(torch.randn(POSTS, 2, DIM), torch.ones(POSTS, 2) > 0)

    joined: Joined = wrapped(modality(1), modality(2), comments=comments)

    torch.testing.assert_close(joined.without_comments, fusion(modality(1), modality(2)).fused)


@pytest.mark.parametrize("name", ["concat", "cross_attention"])
def test_matched_and_swapped_posts_of_a_batch_are_learnt_by_heart(name: str) -> None:
    model, term = make_model(name, projection=16), matching_term(LossSettings(itm=0.5)).term
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    before = float(term(model(BATCH), BATCH).detach())

    for _ in range(60):
        optimizer.zero_grad()
        loss = term(model(BATCH), BATCH)
        loss.backward()
        optimizer.step()

    assert float(loss.detach()) < 0.1 < before
