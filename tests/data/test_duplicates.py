"""Posts that say or show the same are found without comparing all pairs, and no others."""

import io
import json
from collections import defaultdict
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from growth import assert_in_proportion
from postsense.data import duplicates
from postsense.data.duplicates import (
    DuplicateGroups,
    Fingerprint,
    clean_text,
    find_duplicates,
    fingerprint_picture,
    similar_hashes,
    similar_sets,
)
from postsense.data.images import read_picture
from postsense.errors import PictureError


def scene(seed: int, width: int = 320, height: int = 240) -> Image.Image:
    """A smooth picture with large and small forms, as photographs have."""
    generator = np.random.default_rng(seed)
    blobs = generator.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    picture = Image.fromarray(blobs).resize((width, height), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    for x, y in generator.integers(0, min(width, height), (20, 2)).tolist():
        draw.ellipse((x, y, x + 25, y + 18), fill=tuple(generator.integers(0, 256, 3).tolist()))
    return picture.filter(ImageFilter.GaussianBlur(1))


def encoded(picture: Image.Image, kind: str = "PNG", **options: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def fingerprint(picture: Image.Image) -> Fingerprint | None:
    return fingerprint_picture(encoded(picture), "picture")


def links_of(found: DuplicateGroups) -> list[tuple[int, int, str]]:
    names = ("same text", "similar text", "same picture", "similar picture")
    pairs = zip(found.links.tolist(), found.kinds.tolist(), strict=True)
    return [(left, right, names[kind]) for (left, right), kind in pairs]


def texts_alone(*texts: str | None) -> DuplicateGroups:
    return find_duplicates(texts, [None] * len(texts))


def pictures_alone(*pictures: Fingerprint | None) -> DuplicateGroups:
    return find_duplicates([None] * len(pictures), pictures)


def naive_similar_sets(word_lists: list[list[str]], min_jaccard: float) -> set[tuple[int, int]]:
    sets = [set(words) for words in word_lists]
    return {
        (i, j)
        for i, j in combinations(range(len(sets)), 2)
        if sets[i] and len(sets[i] & sets[j]) >= min_jaccard * len(sets[i] | sets[j]) - 1e-9
    }


def naive_similar_hashes(hashes: list[int], max_bits: int) -> set[tuple[int, int]]:
    pairs = combinations(range(len(hashes)), 2)
    return {(i, j) for i, j in pairs if (hashes[i] ^ hashes[j]).bit_count() <= max_bits}


def as_set(pairs: NDArray[np.int64]) -> set[tuple[int, int]]:
    found = [(left, right) for left, right in pairs.tolist()]
    assert len(found) == len(set(found))
    return set(found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("RT @user_1: Hello, WORLD!! https://t.co/abc", "hello world"),
        ("#BlackLivesMatter is #trending", "blacklivesmatter is trending"),
        ("see pic.twitter.com/AbC and www.example.org/x?y=1 now", "see and now"),
        ("awww.so cute, lookpic.twitter.com/AbC herehttps://t.co/a", "awww so cute look here"),
        ("cut link https… and http", "cut link and"),
        ("<user> said HTTPURL", "said"),
        ("it's 5 o\u2019clock", "its 5 oclock"),
        ("ﬁne  ＷＩＤＥ\u00a0spaces\n", "fine wide spaces"),
        ("art smart rt", "art smart"),
        ("STRASSE straße", "strasse strasse"),
        ("😀 !!! ...", ""),
        ("snow_flake", "snow flake"),
    ],
)
def test_clean_text_keeps_the_words_alone(text: str, expected: str) -> None:
    assert clean_text(text) == expected


def test_clean_text_of_clean_text_is_itself() -> None:
    texts = ["RT @a: x!", "İstanbul rt's", "don't @ me", "#a#b www.x", "ǅ ß ﬀ", "<a> @b c"]
    for text in texts:
        assert clean_text(clean_text(text)) == clean_text(text)


@pytest.mark.parametrize("min_jaccard", [0.5, 0.75, 0.85, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_similar_sets_are_those_of_all_pairs(seed: int, min_jaccard: float) -> None:
    generator = np.random.default_rng(seed)
    lists = []
    for size in generator.integers(0, 25, 60):
        words = [f"w{number}" for number in generator.zipf(1.3, size) if number < 200]
        lists += [words, [word for word in words if generator.random() > 0.07]]
    found = similar_sets(lists, min_jaccard)
    assert as_set(found) == naive_similar_sets(lists, min_jaccard)
    assert len(found) > 10


def test_a_set_at_the_threshold_itself_is_similar() -> None:
    words = [f"w{number}" for number in range(20)]
    pairs = similar_sets([words, words[:17], words[:16]], 0.85)  # 17/20, 16/20, 16/17
    assert pairs.tolist() == [[0, 1], [1, 2]]


@pytest.mark.parametrize("max_bits", [0, 1, 3, 7])
@pytest.mark.parametrize("seed", range(5))
def test_similar_hashes_are_those_of_all_pairs(seed: int, max_bits: int) -> None:
    generator = np.random.default_rng(seed)
    hashes = [int(value) for value in generator.integers(0, 2**64, 40, dtype=np.uint64)]
    for value in list(hashes):
        flips = generator.choice(64, generator.integers(0, 10), replace=False).tolist()
        hashes.append(value ^ sum(1 << flip for flip in flips))
    found = similar_hashes(np.array(hashes, np.uint64), max_bits)
    assert as_set(found) == naive_similar_hashes(hashes, max_bits)
    assert len(found) > 0


def test_a_hash_with_its_highest_and_lowest_bit_turned_is_similar() -> None:
    hashes = np.array([0, 1 << 63 | 1, 2**64 - 1], np.uint64)
    assert similar_hashes(hashes, 3).tolist() == [[0, 1]]


def test_posts_with_the_same_words_are_one_group() -> None:
    found = texts_alone(
        "RT @x: what a lovely day!", "something else said here", "What a #lovely day http://t.co/a"
    )
    assert [group.tolist() for group in found.groups] == [[0, 2]]
    assert links_of(found) == [(0, 2, "same text")]
    assert found.group_kinds() == [("same text",)]


def test_texts_of_less_than_four_words_match_nothing() -> None:
    found = texts_alone("so lovely day", "so lovely day", "", None, "@a @b @c @d http://x hi", "hi")
    assert found.groups == ()
    assert found.links.shape == (0, 2)


def test_nearly_the_same_words_are_similar_in_any_order() -> None:
    words = [f"word{number}" for number in range(10)]
    found = texts_alone(" ".join(words), " ".join([*words[::-1], "more"]), " ".join(words[:8]))
    assert links_of(found) == [(0, 1, "similar text")]


def test_groups_join_through_other_posts() -> None:
    picture, other = fingerprint(scene(1)), fingerprint(scene(2))
    text = "the same long text again"
    found = find_duplicates(
        [text, text, "words of another kind entirely"], [other, picture, picture]
    )
    assert [group.tolist() for group in found.groups] == [[0, 1, 2]]
    assert found.group_kinds() == [("same text", "same picture")]


def test_equal_files_are_the_same_picture() -> None:
    one, two = fingerprint(scene(1)), fingerprint(scene(2))
    found = pictures_alone(one, two, None, one)
    assert links_of(found) == [(0, 3, "same picture")]


@pytest.mark.parametrize("seed", range(10))
def test_a_picture_saved_again_smaller_or_coarser_is_similar(seed: int) -> None:
    original = scene(seed)
    copies = [
        encoded(original),
        encoded(original, "JPEG", quality=60),
        encoded(original.resize((200, 150), Image.Resampling.LANCZOS), "JPEG", quality=80),
        encoded(original.resize((640, 480), Image.Resampling.BICUBIC), "WEBP", quality=70),
    ]
    found = pictures_alone(*(fingerprint_picture(copy, "copy") for copy in copies))
    assert [group.tolist() for group in found.groups] == [[0, 1, 2, 3]]
    assert found.group_kinds() == [("similar picture",)]


def test_different_pictures_are_not_similar() -> None:
    found = pictures_alone(*(fingerprint(scene(seed)) for seed in range(60)))
    assert found.groups == ()


def test_pictures_alike_across_but_not_down_are_not_similar() -> None:
    ramp = np.abs(np.linspace(-1, 1, 90))[None, :] * 120 + np.zeros((90, 1))
    stripes = np.where(np.arange(90) // 10 % 2, 100, 0)[:, None]
    plain = Image.fromarray((255 - ramp).astype(np.uint8)).convert("RGB")
    striped = Image.fromarray((255 - ramp - stripes).astype(np.uint8)).convert("RGB")
    one, two = fingerprint(plain), fingerprint(striped)
    assert one is not None
    assert two is not None
    assert (one.across ^ two.across).bit_count() <= 3
    assert pictures_alone(one, two).groups == ()


@pytest.mark.parametrize("level", [0, 17, 255])
def test_near_blank_pictures_have_no_fingerprint(level: int) -> None:
    noise = np.random.default_rng(0).integers(0, 3, (100, 100, 3))
    pixels = (np.full((100, 100, 3), level) + noise).clip(0, 255).astype(np.uint8)
    assert fingerprint(Image.fromarray(pixels)) is None


def test_small_things_on_a_plain_ground_match_only_as_equal_files() -> None:
    pages = [Image.new("RGB", (200, 200), "white") for _ in range(2)]
    ImageDraw.Draw(pages[0]).ellipse((80, 80, 120, 120), fill="red")
    ImageDraw.Draw(pages[1]).rectangle((80, 80, 120, 120), fill="darkred")
    one, two = map(fingerprint, pages)
    found = pictures_alone(one, two, one)
    assert links_of(found) == [(0, 2, "same picture")]


def test_bytes_that_are_no_picture_are_refused() -> None:
    with pytest.raises(PictureError, match=r"posts/1\.jpg"):
        fingerprint_picture(b"no picture", "posts/1.jpg")
    with pytest.raises(PictureError, match="expected a whole picture"):
        fingerprint_picture(encoded(scene(1), "JPEG")[:2000], "cut.jpg")


def test_no_posts_have_no_duplicates() -> None:
    assert find_duplicates([], []).groups == ()
    assert find_duplicates([], []).group_kinds() == []


@pytest.mark.parametrize("seed", range(5))
def test_groups_are_disjoint_ascending_and_hold_every_link(seed: int) -> None:
    generator = np.random.default_rng(seed)
    texts = [" ".join(f"w{n}" for n in generator.integers(0, 4, 5)) for _ in range(200)]
    found = texts_alone(*texts)
    rows = np.concatenate(found.groups)
    group_of = {row: n for n, group in enumerate(found.groups) for row in group.tolist()}
    assert len(rows) == len(set(rows.tolist()))
    assert all((np.diff(group) > 0).all() and len(group) > 1 for group in found.groups)
    assert [group[0] for group in found.groups] == sorted(group[0] for group in found.groups)
    assert all(group_of[left] == group_of[right] for left, right in found.links.tolist())


@pytest.mark.parametrize("seed", range(5))
def test_a_reordered_table_has_the_same_groups(seed: int) -> None:
    generator = np.random.default_rng(seed)
    texts = [" ".join(f"w{n}" for n in generator.integers(0, 4, 6)) for _ in range(100)]
    order = generator.permutation(100)
    plain = {frozenset(group.tolist()) for group in texts_alone(*texts).groups}
    moved = texts_alone(*(texts[row] for row in order))
    assert {frozenset(order[group].tolist()) for group in moved.groups} == plain


@pytest.mark.slow
def test_time_grows_in_proportion_to_texts_and_to_hashes() -> None:
    generator = np.random.default_rng(0)
    words = np.array([f"w{number}" for number in range(30_000)])
    texts = [" ".join(row) for row in words[generator.integers(0, 30_000, (32_000, 12))].tolist()]
    hashes = generator.integers(0, 2**64, 32_000, dtype=np.uint64)
    assert_in_proportion(lambda given: texts_alone(*given), texts[:2_000], texts, times=16)
    assert_in_proportion(lambda given: similar_hashes(given, 3), hashes[:2_000], hashes, times=16)


@pytest.mark.real
def test_known_duplicates_of_real_posts_are_found(real_data: Path) -> None:
    folder = real_data / "mvsa_single"
    lines = (folder / "posts.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row.get("dup_group") is not None]
    known = defaultdict(set)
    for number, row in enumerate(rows):
        known[row["dup_group"]].add(number)
    pictures = [str(folder / row["image"]) for row in rows]
    prints = [fingerprint_picture(read_picture(path), path) for path in pictures]
    found = find_duplicates([row["text"] for row in rows], prints)
    groups = {frozenset(group.tolist()) for group in found.groups}
    pairs = {frozenset(group) for group in known.values() if len(group) == 2}
    assert len(pairs & groups) / len(pairs) > 0.95


def test_pictures_of_one_look_are_not_compared_each_with_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared: list[int] = []
    monkeypatch.setattr(
        duplicates,
        "similar_hashes",
        lambda hashes, bits: compared.append(len(hashes)) or similar_hashes(hashes, bits),
    )
    alike = [Fingerprint(n.to_bytes(32, "big"), 0xF0F0, 0xABC, False) for n in range(3000)]
    found = find_duplicates(
        [None] * 3001, [*alike, replace(alike[0], sha256=b"x", across=2**40 - 1)]
    )
    assert (compared, [len(group) for group in found.groups]) == ([2], [3000])
    assert len(found.links) == 2999
