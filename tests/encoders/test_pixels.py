"""Pictures are decoded once, to what decoding them one by one gives."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from postsense.data.images import PicturePolicy, decode_picture
from postsense.data.loading import load_posts
from postsense.encoders import encode, pixels
from postsense.encoders.pixels import DecodedPictures, decode_pictures
from postsense.posts import Posts

Array = np.ndarray[Any, Any]
Draw = Callable[[str, int], str]
POLICY = PicturePolicy(resize_px=10, crop_px=8)


def posts_of(*paths: str | None) -> Posts:
    return load_posts([{"text": "x", "image": path} for path in paths])


def run(cache: Path, *paths: str | None, **changes: Any) -> DecodedPictures:
    options: dict[str, Any] = {"policy": POLICY, "threads": 2, **changes}
    return decode_pictures(posts_of(*paths), options.pop("policy"), cache, **options)


def one_by_one(*paths: str | None) -> Array:
    """Every picture decoded on its own; zeros where there is none."""
    size = POLICY.crop_px
    return np.array(
        [
            np.zeros((size, size, 3), np.uint8)
            if path is None
            else decode_picture(Path(path).read_bytes(), path, POLICY)
            for path in paths
        ]
    )


@pytest.mark.parametrize("threads", [1, 3])
def test_pixels_equal_those_of_pictures_decoded_one_by_one(
    tmp_path: Path, draw_picture: Draw, threads: int
) -> None:
    paths = [None, *(draw_picture(f"{number}.png", number) for number in range(11)), None]

    decoded = run(tmp_path / "cache", *paths, threads=threads)

    assert np.array_equal(decoded.store.pixels(decoded.rows), one_by_one(*paths))
    assert (decoded.rows < 0).tolist() == [path is None for path in paths]
    assert decoded.broken == {}


def test_a_second_run_decodes_nothing(
    tmp_path: Path, draw_picture: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [draw_picture("a.png", 1), draw_picture("b.png", 2)]
    run(tmp_path / "cache", *paths)
    monkeypatch.setattr(pixels, "decode_picture", lambda *_: pytest.fail("decoded again"))

    again = run(tmp_path / "cache", *paths)

    assert np.array_equal(again.store.pixels(again.rows), one_by_one(*paths))


def test_copies_of_a_picture_share_a_row(tmp_path: Path, draw_picture: Draw) -> None:
    first, other = draw_picture("a.png", 1), draw_picture("b.png", 2)
    copy = str(shutil.copy(first, tmp_path / "copy.png"))

    decoded = run(tmp_path / "cache", first, copy, other, first)

    assert decoded.rows[0] == decoded.rows[1] == decoded.rows[3] != decoded.rows[2]
    assert sum(len(shard) for shard in decoded.store.shards) == 2


def test_another_policy_does_not_reuse_pixels(tmp_path: Path, draw_picture: Draw) -> None:
    path, larger = draw_picture("a.png", 1), PicturePolicy(resize_px=12, crop_px=8)
    run(tmp_path / "cache", path)

    decoded = run(tmp_path / "cache", path, policy=larger)

    expected = decode_picture(Path(path).read_bytes(), path, larger)
    assert np.array_equal(decoded.store.pixels(decoded.rows)[0], expected)
    assert not np.array_equal(expected, one_by_one(path)[0])


def test_broken_pictures_are_told_by_position_and_name(tmp_path: Path, draw_picture: Draw) -> None:
    sound = draw_picture("a.png", 1)
    for name in ("cut.png", "copy.png"):
        (tmp_path / name).write_bytes(Path(sound).read_bytes()[:200])
    paths = [str(tmp_path / name) for name in ("none.png", "cut.png", "a.png", "copy.png")]

    decoded = run(tmp_path / "cache", *paths)

    assert sorted(decoded.broken) == [0, 1, 3]
    assert all(str(decoded.broken[row]).startswith(f"{paths[row]}: expected") for row in (0, 1, 3))
    assert "no such file" in str(decoded.broken[0]) and "a damaged" in str(decoded.broken[3])
    assert (decoded.rows >= 0).tolist() == [False, False, True, False]


def test_what_was_decoded_before_an_interruption_is_kept(
    tmp_path: Path, draw_picture: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, seen = [draw_picture(f"{number}.png", number) for number in range(12)], list[str]()

    def stop_at_ten(data: bytes, name: str, policy: PicturePolicy) -> Array:
        seen.append(name)
        if len(seen) == 10:
            raise KeyboardInterrupt
        return decode_picture(data, name, policy)

    monkeypatch.setattr(pixels, "decode_picture", stop_at_ten)
    monkeypatch.setattr(pixels, "BATCH", 1)
    monkeypatch.setattr(encode, "SHARD_BYTES", 1)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cache", *paths, threads=1)
    before = len(seen)

    decoded = run(tmp_path / "cache", *paths, threads=1)

    assert len(seen) - before == 3
    assert np.array_equal(decoded.store.pixels(decoded.rows), one_by_one(*paths))


def test_progress_grows_to_the_number_of_posts(tmp_path: Path, draw_picture: Draw) -> None:
    told = list[tuple[str, int, int]]()
    paths = [None, *(draw_picture(f"{number}.png", number) for number in range(20))]

    run(tmp_path / "cache", *paths, progress=lambda *step: told.append(step))

    done = [step[1] for step in told]
    assert done == sorted(done) and len(set(done)) > 2
    assert told[-1] == ("decode pictures", 21, 21)


def test_posts_without_pictures_have_zeros(tmp_path: Path) -> None:
    decoded = run(tmp_path, None, None)

    assert decoded.store.pixels(decoded.rows).shape == (2, 8, 8, 3)
    assert not decoded.store.pixels(decoded.rows).any()
