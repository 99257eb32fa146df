"""Posts are known again by what they say and show, wherever they stand."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from postsense.data.loading import load_posts
from postsense.data.seen import Seen, content_keys, joined_seen


def keys(*rows: dict[str, Any], text: bool = True, picture: bool = True) -> list[int]:
    return content_keys(load_posts(list(rows)), text=text, picture=picture).tolist()


def test_a_picture_that_moved_and_words_in_other_spacing_are_the_same_post(
    draw_picture: Callable[[str, int], str], tmp_path: Path
) -> None:
    picture = draw_picture("a.png", 0)
    moved = shutil.copy(picture, tmp_path / "b.png")
    one, same, other = keys(
        {"id": "x", "text": "a lovely  day", "image": picture, "label": "yes"},
        {"id": "y", "text": "a lovely\nday ", "image": str(moved), "label": "no"},
        {"id": "z", "text": "a lovely day", "image": draw_picture("c.png", 1)},
    )
    assert one == same != other


def test_only_what_a_model_reads_counts(draw_picture: Callable[[str, int], str]) -> None:
    rows = [{"text": "words", "image": draw_picture("a.png", 0)}, {"text": "words", "image": None}]
    assert len(set(keys(*rows, picture=False))) == 1
    assert keys(*rows, text=False)[1] == 0
    assert len(set(keys(*rows))) == 2


def test_a_picture_that_cannot_be_read_counts_by_its_path() -> None:
    rows = [{"image": "/nowhere/a.png"}, {"image": "/nowhere/a.png"}, {"image": "/nowhere/b.png"}]
    first, second, third = keys(*[{"id": str(n), **row} for n, row in enumerate(rows)])
    assert first == second != third


def test_what_any_of_several_has_seen_is_seen() -> None:
    some, none = np.array([3, 0, 2, 3]), np.zeros(0, np.int64)
    one = Seen.of(trained=some, selected=none, grouped=none, tested=none)
    two = Seen.of(trained=np.array([9]), selected=some, grouped=none, tested=none)
    both = joined_seen([one, two])
    assert both is not None
    assert (both.trained.tolist(), both.selected.tolist()) == ([2, 3, 9], [2, 3])
    assert joined_seen([one, None]) is None
