"""Posts become what the model reads; rows that cannot be used are listed, too many refused."""

import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from postsense.config import Config
from postsense.config.data import DataSettings
from postsense.config.loading import parse_config, parse_said
from postsense.data.loading import load_posts
from postsense.encoders import frozen
from postsense.encoders.embeddings import Embeddings
from postsense.encoders.frozen import FrozenTextEncoder
from postsense.encoders.processors import load_tokenizer
from postsense.errors import DataError
from postsense.inputs.batches import Pixels, TokenIds
from postsense.inputs.preparation import prepare_posts, what_pictures_show
from postsense.parallel.device import pick_device
from postsense.posts import Posts

Settings = Callable[..., Config]
Draw = Callable[[str, int], str]


@pytest.fixture
def settings(
    tiny_bert: Path, tiny_resnet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """`settings(fusion, trainable, allowed, image_name)`, of tiny encoders not exported."""

    def refuse(*inputs: Any) -> None:
        raise torch.onnx.errors.OnnxExporterError("not here")

    def make(
        fusion: str = "concat",
        trainable: bool = False,
        allowed: float = 1.0,
        image_name: str = str(tiny_resnet),
    ) -> Config:
        text = {"name": str(tiny_bert), "max_length": 16, "trainable": trainable}
        image = {"name": image_name, "trainable": trainable}
        encoders = {"text": text, "image": image, "cache": tmp_path / "cache", "threads": 2}
        bad = {"max_bad_fraction": allowed}
        return parse_said({"fusion": {"name": fusion}, "encoders": encoders, "data": bad}, ())

    monkeypatch.setattr(frozen, "export_session", refuse)
    return make


@pytest.fixture
def posts(draw_picture: Draw) -> Posts:
    """Posts: whole, text alone, picture alone, neither, a picture that is not there."""
    first, second = draw_picture("a.png", 1), draw_picture("b.png", 2)
    return load_posts(
        [
            {"id": "whole", "text": "awful rain", "image": first, "label": "no"},
            {"id": "words", "text": "what a day", "image": None, "label": "yes"},
            {"id": "picture", "text": " ", "image": second, "label": "yes"},
            {"id": "neither", "text": None, "image": None, "label": "no"},
            {"id": "gone", "text": "bus", "image": "/no/such.png", "label": "no"},
        ]
    )


@pytest.mark.parametrize("trainable", [False, True])
def test_rows_that_cannot_be_used_are_listed_with_a_reason(
    posts: Posts, settings: Settings, trainable: bool
) -> None:
    prepared = prepare_posts(posts, settings(trainable=trainable))

    assert prepared.usable.tolist() == [0, 1, 2]
    assert [row.id for row in prepared.bad] == ["neither", "gone"]
    assert prepared.bad[0].reason == "expected a text or a picture, found neither. Add one of them."
    assert prepared.bad[1].reason.startswith("/no/such.png: expected a picture file, found no such")


@pytest.mark.parametrize("trainable", [False, True])
def test_each_post_has_what_it_has(posts: Posts, settings: Settings, trainable: bool) -> None:
    prepared = prepare_posts(posts, settings(trainable=trainable))

    batch = prepared.dataset(prepared.usable)[np.arange(3)]

    text, image = batch["text"], batch["image"]
    assert isinstance(text, TokenIds if trainable else Embeddings)
    assert isinstance(image, Pixels if trainable else Embeddings)
    words = text.mask.any(dim=1) if isinstance(text, TokenIds) else text.present
    assert words.tolist() == [True, True, False]
    assert image.present.tolist() == [True, False, True]


@pytest.mark.parametrize("trainable", [False, True])
def test_words_alone_read_no_picture(
    posts: Posts, settings: Settings, trainable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("encoders.encode", "encoders.pixels"):
        monkeypatch.setattr(f"postsense.{module}.read_picture", lambda path: pytest.fail(path))

    prepared = prepare_posts(posts, settings("text_only", trainable))

    assert [row.id for row in prepared.bad] == ["neither"]
    assert prepared.columns.get("image") is None
    assert "image" not in prepared.dataset(prepared.usable)[np.array([0])].read


def test_pictures_alone_encode_no_text(
    posts: Posts, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FrozenTextEncoder, "encode", lambda *_: pytest.fail("read a text"))

    prepared = prepare_posts(posts, settings("image_only"))

    assert prepared.columns.get("text") is None
    assert [row.id for row in prepared.bad] == ["neither", "gone"]


@pytest.mark.parametrize("allowed", [0.0, 0.3])
def test_too_many_unusable_rows_are_refused_with_the_first(
    posts: Posts, settings: Settings, allowed: float
) -> None:
    message = (
        f"expected at most {allowed:.0%} unusable rows, found 2 of 5, the first 'neither': "
        "expected a text or a picture, found neither."
    )
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        prepare_posts(posts, settings(allowed=allowed))

    assert "data.max_bad_fraction" in caught.value.fix


def test_the_caller_may_allow_any_share_of_unusable_rows(posts: Posts, settings: Settings) -> None:
    assert len(prepare_posts(posts, settings(allowed=0.0), allowed_bad=1.0).bad) == 2


@pytest.mark.parametrize("trainable", [False, True])
def test_a_picture_cut_short_is_used_where_it_may_be_and_only_there(
    posts: Posts, settings: Settings, tmp_path: Path, trainable: bool
) -> None:
    whole = BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(whole, "JPEG")
    (tmp_path / "cut.jpg").write_bytes(whole.getvalue()[:3000])
    image = str(tmp_path / "cut.jpg")
    cut = {"id": "cut", "text": "bus", "image": image}
    posts = load_posts([cut, {**cut, "id": "whole", "image": posts[0].image}])
    config = settings(trainable=trainable)
    using = config.model_copy(update={"data": DataSettings(truncated="use")})
    for each, usable in ((config, [1]), (using, [0, 1]), (config, [1])):
        prepared = prepare_posts(posts, each)
        assert prepared.usable.tolist() == usable
    assert "expected a whole picture" in prepared.bad[0].reason


def test_just_the_allowed_share_of_unusable_rows_passes(posts: Posts, settings: Settings) -> None:
    assert len(prepare_posts(posts, settings(allowed=0.4)).bad) == 2


def test_sequences_are_read_for_cross_attention_alone(posts: Posts, settings: Settings) -> None:
    for fusion, has_tokens in (("concat", False), ("cross_attention", True)):
        batch = prepare_posts(posts, settings(fusion)).dataset(np.array([0]))[np.array([0])]
        assert isinstance(batch["text"], Embeddings) and isinstance(batch["image"], Embeddings)
        assert (batch["text"].tokens is not None) is has_tokens
        assert (batch["image"].tokens is not None) is has_tokens


def test_labels_become_the_numbers_of_their_classes(posts: Posts, settings: Settings) -> None:
    prepared = prepare_posts(posts, settings())

    dataset = prepared.dataset(np.array([2, 0]), classes=("no", "yes"))

    assert dataset.labels is not None
    assert dataset.labels.tolist() == [1, 0]
    assert prepared.dataset(np.array([2, 0])).labels is None


def test_texts_for_a_trained_encoder_are_those_of_its_tokenizer(
    posts: Posts, settings: Settings, tiny_bert: Path
) -> None:
    prepared = prepare_posts(posts, settings("text_only", trainable=True))

    batch = prepared.dataset(np.array([1, 2]))[np.array([0, 1])]["text"]

    assert isinstance(batch, TokenIds)
    assert batch.ids[0].tolist() == load_tokenizer(tiny_bert, 16)(["what a day"])[0]
    assert not batch.mask[1].any()


def test_a_second_preparation_computes_nothing(
    posts: Posts, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = prepare_posts(posts, settings("cross_attention"))
    for name in ("load_text_backbone", "load_image_backbone"):
        monkeypatch.setattr(frozen, name, lambda *_: pytest.fail("loaded an encoder"))

    again = prepare_posts(posts, settings("cross_attention"))

    old, new = (prepared.dataset(first.usable)[np.arange(3)] for prepared in (first, again))
    assert isinstance(old["text"], Embeddings) and isinstance(new["text"], Embeddings)
    assert torch.equal(old["text"].pooled, new["text"].pooled)


def test_progress_names_its_steps(posts: Posts, settings: Settings) -> None:
    told = list[tuple[str, int, int]]()

    prepare_posts(posts, settings(), lambda *step: told.append(step))
    prepare_posts(posts, settings(trainable=True), lambda *step: told.append(step))

    last = {name: (done, total) for name, done, total in told}
    assert last == dict.fromkeys(("encode texts", "encode pictures", "decode pictures"), (5, 5))


def test_pictures_for_a_trained_encoder_are_decoded_in_the_first_preparation_alone(
    posts: Posts, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = prepare_posts(posts, settings(trainable=True))
    monkeypatch.setattr(
        "postsense.encoders.pixels.decode_picture", lambda *_: pytest.fail("decoded again")
    )

    again = prepare_posts(posts.take([2, 1, 0]), settings(trainable=True))

    old, new = (part.dataset(part.usable)[np.arange(3)]["image"] for part in (first, again))
    assert isinstance(old, Pixels) and isinstance(new, Pixels)
    assert torch.equal(new.pixels, old.pixels.flip(0))
    assert old.pixels[0].any() and not torch.equal(old.pixels[0], old.pixels[2])


@pytest.fixture
def region_posts(tmp_path: Path) -> Posts:
    """Posts: whole, text alone, regions alone, picture alone, neither, words and no such file.

    No path of a picture leads anywhere.
    """
    features, boxes = torch.arange(6.0).view(2, 3), torch.full((2, 4), 0.5)
    save_file({"features": features, "boxes": boxes}, tmp_path / "a.safetensors")
    rows = [("rain", "x.png", True), ("bus", None, None), (None, None, True), (None, "y.png", None)]
    rows += [(None, None, None), ("day", "z.png", False)]
    paths = {True: str(tmp_path / "a.safetensors"), False: "/no/such.safetensors", None: None}
    return load_posts(
        [
            {"id": str(row), "text": text, "image": image, "regions": paths[file], "label": "no"}
            for row, (text, image, file) in enumerate(rows)
        ]
    )


@pytest.mark.parametrize("fusion", ["concat", "cross_attention"])
def test_regions_stand_for_pictures_which_are_not_read(
    region_posts: Posts, settings: Settings, fusion: str
) -> None:
    config = settings(fusion, image_name="regions")

    prepared = prepare_posts(region_posts, config)

    image = prepared.dataset(prepared.usable)[np.arange(3)]["image"]
    assert isinstance(image, Embeddings)
    assert prepared.usable.tolist() == [0, 1, 2]
    assert image.present.tolist() == [True, False, True]
    assert image.pooled[0].tolist() == [1.5, 2.5, 3.5, 0.5, 0.5, 0.5, 0.5]
    assert (image.tokens is not None) is (fusion == "cross_attention")
    assert what_pictures_show(prepared, prepared.usable, config) is None


def test_posts_without_the_regions_they_need_are_listed(
    region_posts: Posts, settings: Settings
) -> None:
    bad = prepare_posts(region_posts, settings(image_name="regions")).bad

    assert [row.id for row in bad] == ["3", "4", "5"]
    assert "expected region features of this picture in the column 'regions'" in bad[0].reason
    assert bad[1].reason == "expected a text or a picture, found neither. Add one of them."
    assert bad[2].reason.startswith("/no/such.safetensors: expected a file of region features")


def test_regions_count_for_nothing_where_pictures_are_encoded(
    region_posts: Posts, settings: Settings
) -> None:
    bad = prepare_posts(region_posts, settings()).bad

    assert [row.id for row in bad] == ["0", "2", "3", "4", "5"]
    assert "found neither" in bad[1].reason


def test_words_for_pictures_known_by_their_regions_are_those_of_the_table(
    region_posts: Posts, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "postsense.inputs.columns.encode_pictures", lambda *_: pytest.fail("read one")
    )
    posts = region_posts.take([0, 1])
    given = pa.array([["lovely", "day"], None], pa.list_(pa.string()))
    posts.table = posts.table.set_column(
        posts.table.schema.get_field_index("attributes"), "attributes", given
    )

    prepared = prepare_posts(posts, settings("hierarchical", image_name="regions"))

    words = prepared.dataset(prepared.usable)[np.arange(2)]["attributes"]
    assert words is not None and words.present.tolist() == [True, False]


@pytest.mark.parametrize(
    ("gpu", "device", "expected"),
    [(True, "auto", "cuda"), (True, "cpu", "cpu"), (False, "auto", "cpu")],
)
def test_the_gpu_is_used_if_there_is_one_and_the_settings_allow_it(
    monkeypatch: pytest.MonkeyPatch, gpu: bool, device: str, expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)

    assert pick_device(parse_config({"training": {"device": device}}).training).type == expected
