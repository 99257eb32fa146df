import random
import time

import numpy as np
import pytest

from postsense.corpus.deduplication import (
    Traits,
    earlier_twins,
    picture_hash,
    picture_key,
    text_key,
    words_key,
)
from postsense.data.duplicates import MAX_BITS, MAX_BITS_DOWN, MIN_JACCARD, Fingerprint

A, B = picture_key(b"a"), picture_key(b"b")


def alike_texts(left: str, right: str) -> bool:
    if min(len(left.split()), len(right.split())) < 4:
        return left == right
    first, second = set(left.split()), set(right.split())
    return len(first & second) / len(first | second) >= MIN_JACCARD - 1e-9


def alike_pictures(left: tuple, right: tuple) -> bool:
    if left[0] == right[0] or None in (*left, *right):
        return left[0] == right[0]
    across, down = (
        (int.from_bytes(left[1][part], "big") ^ int.from_bytes(right[1][part], "big")).bit_count()
        for part in (slice(0, 8), slice(8, 16))
    )
    return across <= MAX_BITS and down <= MAX_BITS_DOWN


def slow_twins(posts: Traits, known: int) -> list[int]:
    """The rule of earlier_twins, pair by pair."""
    twins: list[int] = []
    for post in range(len(posts)):
        found = -1
        for earlier in range(post if post >= known else 0):
            pictures = [(posts.pictures[p], posts.hashes[p]) for p in (earlier, post)]
            both = alike_texts(posts.words[earlier], posts.words[post]) and alike_pictures(
                *pictures
            )
            bare = posts.pictures[post] is None and len(posts.words[post].split()) < 4
            if twins[earlier] < 0 and both and not bare:
                found = earlier
                break
        twins.append(found)
    return twins


def random_traits(seed: int, posts: int) -> Traits:
    dice = random.Random(seed)
    base = [
        [f"w{dice.randrange(30)}" for _ in range(dice.choice([2, 6, 8, 12]))] for _ in range(12)
    ]
    looks = [dice.getrandbits(128) for _ in range(5)]
    words, pictures, hashes = [], [], []
    for _ in range(posts):
        chosen = list(dice.choice(base))
        if dice.random() < 0.5:
            chosen[dice.randrange(len(chosen))] = f"v{dice.randrange(5)}"
        words.append(" ".join(chosen))
        kind = dice.randrange(6)
        look = looks[kind % 5] ^ (1 << dice.randrange(128) if dice.random() < 0.5 else 0)
        pictures.append(None if kind == 5 else picture_key(str(look).encode()))
        hashes.append(None if kind >= 4 else look.to_bytes(16, "big"))
    return Traits(words, pictures, hashes)


@pytest.mark.parametrize("seed", range(8))
def test_twins_are_those_of_comparing_every_pair(seed):
    traits = random_traits(seed, 150)
    assert earlier_twins(traits).tolist() == slow_twins(traits, 0)
    assert earlier_twins(traits, known=40).tolist() == slow_twins(traits, 40)


def test_a_chain_of_small_changes_does_not_join_its_ends():
    words = [" ".join(f"w{n}" for n in range(start, start + 20)) for start in range(6)]
    twins = earlier_twins(Traits(words, [None] * 6, [None] * 6))
    assert twins.tolist() == [-1, 0, -1, 2, -1, 4]


def test_the_same_words_under_another_picture_are_another_post():
    twins = earlier_twins(Traits(["one two three four"] * 4, [A, B, None, A], [None] * 4))
    assert twins.tolist() == [-1, -1, -1, 0]


def test_few_words_match_only_under_the_same_picture():
    traits = Traits(["so true"] * 4 + ["", ""], [None, None, A, A, B, B], [None] * 6)
    assert earlier_twins(traits).tolist() == [-1, -1, -1, 2, -1, 4]


def test_nothing_has_no_twin():
    assert earlier_twins(Traits([], [], [])).tolist() == []


def test_keys_depend_on_what_is_said_and_not_on_how_it_is_written():
    raw, stored = "RT @joe: What a #lovely day &amp; view http://t.co/x", "what a lovely day view"
    assert text_key(raw) == text_key(stored) == words_key("what a lovely day view")
    assert text_key("so true!") is None and text_key(None) is None
    assert len(picture_key(b"bytes")) == len(text_key(raw)) == 16


def test_plain_pictures_have_no_hash():
    plain, rich = Fingerprint(b"", 1, 2, True), Fingerprint(b"", 1, 2**64 - 1, False)
    assert picture_hash(None) is None and picture_hash(plain) is None
    assert picture_hash(rich) == (1).to_bytes(8, "big") + b"\xff" * 8


@pytest.mark.slow
def test_two_hundred_thousand_texts_take_seconds():
    generator = np.random.default_rng(0)
    ranks = generator.zipf(1.3, (200_000, 12)) % 50_000
    words = [" ".join(f"w{rank}" for rank in text) for text in ranks.tolist()]
    none = [None] * len(words)
    start = time.perf_counter()
    earlier_twins(Traits(words, none, none))
    assert time.perf_counter() - start < 60
