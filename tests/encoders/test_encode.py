"""Every text and picture is encoded once, in any order, whatever stops the process."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from postsense.config import EncoderSettings, TextEncoderSettings
from postsense.config.loading import parse_config
from postsense.data.loading import load_posts
from postsense.encoders import encode
from postsense.encoders.encode import encode_pictures, encode_texts
from postsense.encoders.features import Encoded, FeatureColumn
from postsense.encoders.frozen import FrozenImageEncoder, FrozenTextEncoder
from postsense.errors import PictureError
from postsense.posts import Posts, posts_of_texts

Array = np.ndarray[Any, Any]


class CountingTexts(FrozenTextEncoder):
    """Encodes a text as its ids' sum and number; keeps the batches it was given."""

    def __init__(self, settings: EncoderSettings, fail_after: int | None = None) -> None:
        super().__init__(settings, torch.device("cpu"))
        self.batches, self.fail_after = list[list[Sequence[int]]](), fail_after

    def encode(self, ids: Sequence[Sequence[int]]) -> list[Encoded]:
        if self.fail_after is not None and len(self.batches) >= self.fail_after:
            raise KeyboardInterrupt
        self.batches.append(list(ids))
        return [
            Encoded(np.array([sum(row), len(row)], np.float32), np.array(row, np.float32)[:, None])
            for row in ids
        ]

    @property
    def texts(self) -> int:
        return sum(map(len, self.batches))


class CountingPictures(FrozenImageEncoder):
    """Encodes a picture as the mean of its pixels; counts the pictures it was given."""

    def __init__(self, settings: EncoderSettings) -> None:
        super().__init__(settings, torch.device("cpu"))
        self.pictures = 0

    def encode(self, pixels: Sequence[Array]) -> list[Encoded]:
        self.pictures += len(pixels)
        return [Encoded(picture.mean(axis=(1, 2)), picture[:, 0].T) for picture in pixels]


@pytest.fixture
def settings(tiny_bert: Path, tiny_vit: Path, tmp_path: Path) -> EncoderSettings:
    encoders = {
        "text": {"name": str(tiny_bert), "max_length": 16},
        "image": {"name": str(tiny_vit)},
        "cache": tmp_path / "cache",
    }
    return parse_config({"encoders": encoders}).encoders


def texts_of(*texts: str | None) -> Posts:
    return load_posts([{"text": text, "image": "x.png"} for text in texts])


def pictures_of(*paths: str | None) -> Posts:
    return load_posts([{"text": "x", "image": path} for path in paths])


def run_texts(posts: Posts, encoder: CountingTexts, **changes: Any) -> FeatureColumn:
    return encode_texts(posts, encoder, **{"with_tokens": False, "threads": 2, **changes})


def run_pictures(
    posts: Posts, encoder: CountingPictures, **changes: Any
) -> tuple[FeatureColumn, dict[int, PictureError]]:
    return encode_pictures(posts, encoder, **{"with_tokens": False, "threads": 2, **changes})


def all_of(column: FeatureColumn) -> Array:
    return column.batch(np.arange(len(column.rows))).pooled.numpy()


TEXTS = ("awful rain", "what a lovely day", None, "bus", "bus line", "rain again", "rain rain rain")


def expected_of(encoder: CountingTexts, texts: Sequence[str | None]) -> list[list[float]]:
    ids = [encoder.tokenizer([text])[0] if text else [] for text in texts]
    return [[sum(row), len(row)] for row in ids]


@pytest.mark.parametrize("threads", [1, 3])
def test_every_post_gets_the_features_of_its_own_text(
    settings: EncoderSettings, threads: int
) -> None:
    encoder = CountingTexts(settings)

    column = run_texts(texts_of(*TEXTS), encoder, threads=threads)

    assert all_of(column).tolist() == expected_of(encoder, TEXTS)
    assert (column.rows < 0).tolist() == [text is None for text in TEXTS]


def test_tokens_are_kept_where_asked_for(settings: EncoderSettings) -> None:
    encoder = CountingTexts(settings)

    batch = run_texts(texts_of(*TEXTS), encoder, with_tokens=True).batch(np.array([3, 2, 0]))

    assert batch.tokens is not None and batch.mask is not None
    bus, awful = encoder.tokenizer(["bus", "awful rain"])
    assert batch.tokens[..., 0].tolist() == [[*bus, 0], [0, 0, 0, 0], awful]
    assert batch.mask.sum(dim=1).tolist() == [3, 0, 4]


def test_a_text_that_occurs_twice_is_encoded_once(settings: EncoderSettings) -> None:
    encoder = CountingTexts(settings)

    column = run_texts(texts_of("bus", "rain", "bus", "bus"), encoder)

    assert encoder.texts == 2
    assert all_of(column)[[2, 3]].tolist() == all_of(column)[[0, 0]].tolist()


def test_texts_that_the_policy_makes_equal_are_encoded_once(settings: EncoderSettings) -> None:
    tweets = settings.text.model_copy(update={"normalize": "tweet"})
    encoder = CountingTexts(settings.model_copy(update={"text": tweets}))

    run_texts(texts_of("@anna rain", "@bob rain", "@bob  rain"), encoder)

    assert encoder.texts == 1


def test_a_second_run_encodes_nothing(settings: EncoderSettings) -> None:
    first = run_texts(texts_of(*TEXTS), CountingTexts(settings))
    encoder = CountingTexts(settings)

    again = run_texts(texts_of(*TEXTS), encoder)

    assert encoder.batches == []
    assert np.array_equal(all_of(again), all_of(first))


def test_only_new_texts_are_encoded(settings: EncoderSettings) -> None:
    run_texts(texts_of("bus", "rain"), CountingTexts(settings))
    encoder = CountingTexts(settings)

    column = run_texts(texts_of("rain", "lovely", "bus"), encoder)

    assert encoder.texts == 1
    assert all_of(column).tolist() == expected_of(encoder, ["rain", "lovely", "bus"])


def test_another_policy_does_not_reuse_features(settings: EncoderSettings) -> None:
    run_texts(texts_of("bus"), CountingTexts(settings))
    longest = settings.text.model_copy(update={"pooling": "max"})
    encoder = CountingTexts(settings.model_copy(update={"text": longest}))

    run_texts(texts_of("bus"), encoder)

    assert encoder.texts == 1


def test_batches_hold_texts_of_one_length_so_that_nothing_is_padded(
    settings: EncoderSettings,
) -> None:
    encoder = CountingTexts(settings)
    encoder.batch_size = 2

    run_texts(texts_of("a", "b", "c", "d", "e f", "g h", "i j k"), encoder, threads=1)

    lengths = [[len(row) for row in batch] for batch in encoder.batches]
    assert lengths == [[5], [4, 4], [3, 3], [3, 3]]


def test_long_tables_are_encoded_in_pieces(
    settings: EncoderSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encode, "CHUNK", 3)
    encoder = CountingTexts(settings)

    column = run_texts(texts_of(*TEXTS, *TEXTS), encoder)

    assert all_of(column).tolist() == expected_of(encoder, [*TEXTS, *TEXTS])
    assert encoder.texts == len(TEXTS) - 1


@pytest.mark.parametrize("chunk", [3, 100])
def test_progress_grows_to_the_number_of_posts(
    settings: EncoderSettings, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(encode, "CHUNK", chunk)
    told = list[tuple[str, int, int]]()

    run_texts(texts_of(*TEXTS), CountingTexts(settings), progress=lambda *step: told.append(step))

    done = [step[1] for step in told]
    assert done == sorted(done)
    assert told[-1] == ("encode texts", len(TEXTS), len(TEXTS))


def test_what_was_written_before_an_interruption_is_not_computed_again(
    settings: EncoderSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encode, "SHARD_BYTES", 1)
    texts = [f"{'rain ' * number}bus" for number in range(12)]
    with pytest.raises(KeyboardInterrupt):
        run_texts(texts_of(*texts), CountingTexts(settings, fail_after=9), threads=1)

    encoder = CountingTexts(settings)
    column = run_texts(texts_of(*texts), encoder)

    assert 3 <= encoder.texts < 12
    assert all_of(column).tolist() == expected_of(encoder, texts)


def test_features_are_the_same_in_one_shard_and_in_many(
    settings: EncoderSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    one = run_texts(texts_of(*TEXTS), CountingTexts(settings))
    vectors = all_of(one)
    shutil.rmtree(tmp_path / "cache")
    monkeypatch.setattr(encode, "SHARD_BYTES", 1)

    many = run_texts(texts_of(*TEXTS), CountingTexts(settings))

    assert (len(one.store.shards), len(many.store.shards)) == (1, len(TEXTS) - 1)
    assert np.array_equal(all_of(many), vectors)


def test_posts_without_any_text_still_have_a_width(settings: EncoderSettings) -> None:
    column = run_texts(texts_of(None, None), CountingTexts(settings))

    assert all_of(column).tolist() == [[0, 0], [0, 0]]
    assert not column.batch(np.array([0, 1])).present.any()


def test_every_post_gets_the_features_of_its_own_picture(
    settings: EncoderSettings, draw_picture: Callable[[str, int], str]
) -> None:
    paths = [draw_picture("a.png", 1), None, draw_picture("b.png", 2)]
    encoder = CountingPictures(settings)

    column, bad = run_pictures(pictures_of(*paths), encoder)

    for row in (0, 2):
        path = str(paths[row])
        expected = encoder.prepare(Path(path).read_bytes(), path).mean(axis=(1, 2))
        assert all_of(column)[row] == pytest.approx(expected, abs=1e-3)
    assert column.rows[1] == -1
    assert bad == {}


def test_copies_of_a_picture_are_encoded_once(
    settings: EncoderSettings, draw_picture: Callable[[str, int], str], tmp_path: Path
) -> None:
    first, other = draw_picture("a.png", 1), draw_picture("b.png", 2)
    copy = str(shutil.copy(first, tmp_path / "copy.png"))
    encoder = CountingPictures(settings)

    column, _ = run_pictures(pictures_of(first, copy, other, first), encoder)
    again = CountingPictures(settings)
    run_pictures(pictures_of(copy, other), again)

    assert (encoder.pictures, again.pictures) == (2, 0)
    assert column.rows[0] == column.rows[1] == column.rows[3] != column.rows[2]


def test_unusable_pictures_are_told_by_position_and_name(
    settings: EncoderSettings, draw_picture: Callable[[str, int], str], tmp_path: Path
) -> None:
    sound = draw_picture("a.png", 1)
    for name in ("cut.png", "copy.png"):
        (tmp_path / name).write_bytes(Path(sound).read_bytes()[:200])
    paths = [str(tmp_path / name) for name in ("none.png", "cut.png", "a.png", "copy.png")]

    column, bad = run_pictures(pictures_of(*paths), CountingPictures(settings))

    assert sorted(bad) == [0, 1, 3]
    assert all(str(bad[row]).startswith(f"{paths[row]}: expected") for row in bad)
    assert "no such file" in str(bad[0]) and "a damaged file" in str(bad[3])
    assert (column.rows >= 0).tolist() == [False, False, True, False]


def test_positions_of_unusable_pictures_count_from_the_first_piece(
    settings: EncoderSettings,
    draw_picture: Callable[[str, int], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(encode, "CHUNK", 2)
    path = draw_picture("a.png", 1)

    _, bad = run_pictures(
        pictures_of(path, None, path, "/none.png", "/none.png"), CountingPictures(settings)
    )

    assert sorted(bad) == [3, 4]


def test_posts_without_any_picture_still_have_a_width(settings: EncoderSettings) -> None:
    column, bad = run_pictures(pictures_of(None, None), CountingPictures(settings))

    assert all_of(column).tolist() == [[0, 0, 0], [0, 0, 0]]
    assert bad == {}


def test_texts_without_unknown_signs_keep_their_features(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = []
    encoding = FrozenTextEncoder.encode

    def encode(self: FrozenTextEncoder, ids: Any) -> list[Encoded]:
        computed.extend([self.settings.unknown] * len(ids))
        return encoding(self, ids)

    monkeypatch.setattr(FrozenTextEncoder, "encode", encode)
    posts = posts_of_texts(["rain bus rain", "bus 🌧 rain", "สวัสดี bus"], "texts")
    for unknown in ("keep", "words"):
        text = TextEncoderSettings(name=str(tiny_bert), unknown=unknown)
        encoder = FrozenTextEncoder(EncoderSettings(text=text), torch.device("cpu"))
        encode_texts(posts, encoder, with_tokens=False, threads=1)
    assert computed == ["keep", "keep", "keep", "words"]
