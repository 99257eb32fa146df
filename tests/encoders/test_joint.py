"""Joint checkpoints load as what they are, cut as asked, and no other checkpoint does."""

import re
from pathlib import Path

import pytest
import torch

from postsense.encoders.backbone import load_image_backbone, load_text_backbone
from postsense.encoders.joint import JointKind, embedded_words, load_joint_backbone
from postsense.encoders.processors import load_tokenizer, picture_policy
from postsense.errors import EncoderError

JOINT: list[tuple[str, JointKind]] = [("tiny_vilt", "vilt"), ("tiny_lxmert", "lxmert")]


@pytest.mark.parametrize(("name", "kind"), JOINT)
def test_a_checkpoint_of_pretraining_loads_without_its_heads(
    request: pytest.FixtureRequest, name: str, kind: JointKind
) -> None:
    from safetensors.torch import load_file

    folder = request.getfixturevalue(name)

    backbone = load_joint_backbone(folder, kind, None)

    saved = load_file(folder / "model.safetensors")
    assert any(not key.startswith(f"{kind}.") for key in saved)  # the heads
    for key, weight in backbone.model.state_dict().items():
        assert torch.equal(weight, saved[f"{kind}.{key}"]), key
    assert backbone.dim == 16 and not any(part.training for part in backbone.modules())


@pytest.mark.parametrize(("name", "kind"), JOINT)
def test_a_bare_model_and_one_without_pretraining_load_too(
    request: pytest.FixtureRequest, tmp_path: Path, name: str, kind: JointKind
) -> None:
    whole = load_joint_backbone(request.getfixturevalue(name), kind, None)
    whole.model.save_pretrained(tmp_path)  # type: ignore[operator]

    again = load_joint_backbone(tmp_path, kind, None).state_dict()
    random = load_joint_backbone(tmp_path, kind, None, pretrained=False).state_dict()

    assert all(torch.equal(again[key], weight) for key, weight in whole.state_dict().items())
    assert again.keys() == random.keys()
    words = "model.embeddings.text_embeddings.word_embeddings.weight"
    words = words if kind == "vilt" else "model.embeddings.word_embeddings.weight"
    assert not torch.equal(again[words], random[words])


def test_a_vilt_can_be_cut_and_has_no_more_layers_than_it_has(tiny_vilt: Path) -> None:
    backbone = load_joint_backbone(tiny_vilt, "vilt", 1)

    assert not any("layer.1." in name for name in backbone.state_dict())
    message = "encoders.text.layers: expected layers <= 2, found 3."
    with pytest.raises(EncoderError, match=re.escape(message)):
        load_joint_backbone(tiny_vilt, "vilt", 3)


def test_an_lxmert_cannot_be_cut(tiny_lxmert: Path) -> None:
    message = r"encoders\.text\.layers: expected no number of layers .*, found 1\. Leave it unset\."
    with pytest.raises(EncoderError, match=message):
        load_joint_backbone(tiny_lxmert, "lxmert", 1)


@pytest.mark.parametrize(
    ("name", "kind", "found"),
    [
        ("tiny_bert", "vilt", "BertModel"),
        ("tiny_bert", "lxmert", "BertModel"),
        ("tiny_clip", "vilt", "CLIPModel"),
        ("tiny_vilt", "lxmert", "ViltModel"),
        ("tiny_lxmert", "vilt", "LxmertModel"),
    ],
)
def test_another_architecture_is_refused_in_one_line(
    request: pytest.FixtureRequest, name: str, kind: JointKind, found: str
) -> None:
    with pytest.raises(EncoderError) as caught:
        load_joint_backbone(request.getfixturevalue(name), kind, None)

    error = caught.value
    assert error.where == "encoders.text.name" and f"fusion '{kind}'" in error.expected
    assert error.found == f"'{found}'" and error.fix.startswith("Name another checkpoint")


def test_a_checkpoint_without_some_of_its_weights_is_refused(
    tiny_vilt: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(tiny_vilt / "model.safetensors")
    del weights["vilt.embeddings.cls_token"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "config.json").write_bytes((tiny_vilt / "config.json").read_bytes())

    with pytest.raises(EncoderError, match="without 1 of them, such as 'embeddings.cls_token'"):
        load_joint_backbone(tmp_path, "vilt", None)


def test_words_are_embedded_and_a_text_without_any_is_one_learned_vector(tiny_bert: Path) -> None:
    model = load_text_backbone(tiny_bert, None).model
    ids, missing = torch.tensor([[2, 5, 3], [0, 0, 0]]), torch.arange(16.0)
    mask = torch.tensor([[True, True, True], [False, False, False]])

    words, read = embedded_words(model, ids, mask, missing)

    table = model.get_input_embeddings().weight  # type: ignore[operator]
    assert torch.equal(words[0], table[[2, 5, 3]]) and torch.equal(words[1, 0], missing)
    assert read.tolist() == [[True, True, True], [True, False, False]]


@pytest.mark.parametrize("name", ["tiny_bert", "tiny_roberta", "tiny_xlm_roberta", "tiny_clip"])
def test_every_tiny_text_checkpoint_reads_a_text(request: pytest.FixtureRequest, name: str) -> None:
    folder = request.getfixturevalue(name)
    ids = torch.tensor(load_tokenizer(folder, 16)(["awful rain", "lovely day"]))

    tokens, cls = load_text_backbone(folder, None)(ids, torch.ones_like(ids))

    assert tokens.shape == (2, 4, 16) and cls.shape == (2, 16)
    assert (tokens[0] != tokens[1]).any() and tokens.isfinite().all()


PICTURED = ["tiny_vit", "tiny_beit", "tiny_deit", "tiny_resnet", "tiny_efficientnet", "tiny_clip"]


@pytest.mark.parametrize("name", PICTURED)
def test_every_tiny_picture_checkpoint_sees_a_picture(
    request: pytest.FixtureRequest, name: str
) -> None:
    folder = request.getfixturevalue(name)
    side = picture_policy(folder).crop_px
    pixels = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))

    regions, cls = load_image_backbone(folder, None, "mean")(pixels)

    assert side == 32 and regions.shape[0] == 2 and cls.shape == (2, 16)
    assert (regions[0] != regions[1]).any() and regions.isfinite().all()


@pytest.mark.parametrize("name", ["tiny_vilt", "tiny_lxmert"])
def test_a_joint_model_is_no_text_encoder(name: str, request: pytest.FixtureRequest) -> None:
    with pytest.raises(EncoderError, match="expected a model that reads text alone, found"):
        load_text_backbone(request.getfixturevalue(name), None)
