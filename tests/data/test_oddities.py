"""Labels, texts and splits that look wrong are counted and named."""

import unicodedata

import pytest

from postsense.data.loading import load_posts
from postsense.data.oddities import find_oddities, label_variants

CAFE = unicodedata.normalize("NFD", "café")


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        (("Harmful", "harmful"), "case"),
        (("0", "0.0"), "how a number is written"),
        (("1", "01"), "how a number is written"),
        (("True", "true"), "case"),
        (("café", CAFE), "Unicode form"),
        (("Ａ", "A"), "Unicode form"),
        (("not\xa0funny", "not funny"), "blanks"),
        (("not  funny", "not funny"), "blanks"),
        (("not-funny", "not funny"), "blanks"),
        (("harm\u200bful", "harmful"), "characters that are not seen"),
        (("it’s", "it's"), "quotes and dashes"),
        (("Not_Funny", "not funny"), "blanks and case"),
    ],
)
def test_labels_that_look_like_one_are_named_with_what_tells_them_apart(
    labels: tuple[str, str], kind: str
) -> None:
    [found] = label_variants({labels[0]: 12, labels[1]: 30, "other": 5})
    assert (found.labels, found.differ_in) == ({labels[0]: 12, labels[1]: 30}, kind)


@pytest.mark.parametrize(
    "labels", [("1", "10"), ("-1", "1"), ("yes", "no"), ("a", "á"), ("0.5", "0.50001")]
)
def test_other_labels_are_not_alike(labels: tuple[str, str]) -> None:
    assert label_variants(dict.fromkeys(labels, 3)) == ()


def test_a_line_says_how_many_posts_have_each_variant() -> None:
    rows = [{"text": f"words {n}", "label": ["Harmful", "harmful", "ok"][n % 3]} for n in range(9)]
    [line] = find_oddities(load_posts(rows)).lines()
    assert line.startswith("labels 'Harmful' (3) and 'harmful' (3) differ only in case;")


def test_words_for_nothing_are_counted_in_texts_and_labels() -> None:
    texts = [
        "NaN",
        "null",
        "None",
        "n/a",
        "-",
        "nan",
        " NaN",
        "a word",
        "national",
        "null and void",
    ]
    rows = [{"text": text, "label": ["x", "null"][n % 2]} for n, text in enumerate(texts)]
    found = find_oddities(load_posts(rows)).words
    once = dict.fromkeys((" NaN", "-", "NaN", "None", "n/a", "nan", "null"), 1)
    assert found == {"text": once, "label": {"null": 5}}


def test_posts_of_unknown_splits_are_counted() -> None:
    names = ["train", "fold 1", "fold 1", "holdout", "dev_seen", None]
    posts = load_posts([{"text": "a", "split": name} for name in names])
    oddities = find_oddities(posts)
    assert oddities.unused_splits == {"fold 1": 2, "holdout": 1}
    assert "3 of 6 posts are in splits 'fold 1' (2), 'holdout' (1)" in oddities.lines()[0]


def test_a_sound_table_has_nothing_odd() -> None:
    rows = [{"text": f"words {n}", "label": "ab"[n % 2], "split": "train"} for n in range(4)]
    assert find_oddities(load_posts(rows)).lines() == []
