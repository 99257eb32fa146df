import random

import numpy as np
import pytest
from made_posts import write_table

from growth import assert_in_proportion
from postsense.config import CorpusSettings
from postsense.corpus import deduplication, selection
from postsense.corpus.deduplication import (
    Traits,
    earlier_twins,
    picture_hash,
    picture_key,
    text_key,
    words_key,
)
from postsense.corpus.selection import select_posts
from postsense.data.duplicates import (
    MAX_BITS,
    MAX_BITS_DOWN,
    MIN_JACCARD,
    Fingerprint,
    similar_hashes,
)

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
def test_time_grows_in_proportion_to_the_texts():
    def traits(count):
        ranks = np.random.default_rng(0).zipf(1.3, (count, 12)) % 50_000
        words = [" ".join(f"w{rank}" for rank in text) for text in ranks.tolist()]
        return Traits(words, [None] * count, [None] * count)

    assert_in_proportion(earlier_twins, traits(4_000), traits(64_000), times=16)


def test_pictures_of_one_look_are_not_compared_each_with_each(monkeypatch):
    compared = []
    monkeypatch.setattr(
        deduplication,
        "similar_hashes",
        lambda hashes, bits: compared.append(len(hashes)) or similar_hashes(hashes, bits),
    )
    pictures = [number.to_bytes(16, "big") for number in range(3000)]
    traits = Traits(["a few words that are the same"] * 3000, pictures, [b"\1" * 16] * 3000)
    assert earlier_twins(traits).tolist() == [-1] + [0] * 2999
    assert compared == [1]


def test_comments_of_many_copies_of_a_post_are_looked_at_once(monkeypatch, tmp_path):
    seen = []
    words = selection.comment_words
    monkeypatch.setattr(selection, "comment_words", lambda text: seen.append(text) or words(text))
    rows = [
        {"id": str(n), "text": "the very same words again", "comments": [f"comment number {n}"]}
        for n in range(400)
    ]
    table = write_table(tmp_path / "posts.jsonl", rows)
    settings = CorpusSettings(require_image=False, language="any")
    kept = select_posts([table], [], settings)
    assert (len(kept.table), len(kept.table["comments"][0]), len(seen)) == (1, 400, 400)
