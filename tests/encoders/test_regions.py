"""Region features of files become tokens with their boxes; what is wrong with a file is told."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file
from torch import Tensor

from postsense.config.loading import parse_config
from postsense.data.loading import load_posts
from postsense.encoders.encode import feature_store
from postsense.encoders.features import FeatureColumn
from postsense.encoders.frozen import FrozenImageEncoder
from postsense.encoders.regions import encode_regions, image_key, parse_regions
from postsense.errors import PictureError
from postsense.posts import Posts

Write = Callable[..., str]
Column = tuple[FeatureColumn, dict[int, PictureError]]


def regions(count: int, width: int, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn((count, width), generator=generator)
    return {"features": features, "boxes": torch.rand((count, 4), generator=generator)}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """`write(name, count, width)` writes a file of regions, seeded by its name."""

    def write_one(name: str, count: int = 3, width: int = 5) -> str:
        path = tmp_path / f"{name}.safetensors"
        save_file(regions(count, width, sum(name.encode())), path)
        return str(path)

    return write_one


def posts_of(*paths: str | None, image: str | None = None) -> Posts:
    return load_posts([{"text": "x", "image": image, "regions": path} for path in paths])


def run(cache: Path, posts: Posts, **changes: Any) -> Column:
    return encode_regions(posts, cache, **{"with_tokens": True, "threads": 2, **changes})


def tokens_of(path: str) -> Tensor:
    """What the file of a post should become, computed plainly."""
    tensors = parse_regions(Path(path).read_bytes(), path)
    assert tensors.shape[1] == 5 + 4
    return tensors


def test_tokens_are_features_beside_boxes() -> None:
    tensors = regions(3, 5)

    tokens = parse_regions(save(tensors), "a")

    for row in range(3):
        assert tokens[row, :5].tolist() == tensors["features"][row].tolist()
        assert tokens[row, 5:].tolist() == tensors["boxes"][row].tolist()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_floating_point_is_read(dtype: torch.dtype) -> None:
    tensors = {name: part.to(dtype) for name, part in regions(2, 3).items()}

    tokens = parse_regions(save(tensors), "a")

    assert tokens.dtype == torch.float32
    assert torch.equal(tokens[:, :3], tensors["features"].float())


@pytest.mark.parametrize("threads", [1, 3])
def test_every_post_gets_its_own_regions_and_their_mean(
    tmp_path: Path, write: Write, threads: int
) -> None:
    paths = [write("a", 3), None, write("b", 1), write("c", 6)]

    column, bad = run(tmp_path / "cache", posts_of(*paths), threads=threads)

    batch = column.batch(np.arange(4))
    assert batch.tokens is not None and batch.mask is not None and bad == {}
    assert batch.mask.sum(dim=1).tolist() == [3, 0, 1, 6]
    assert batch.present.tolist() == [True, False, True, True]
    for row, path in enumerate(paths):
        expected = tokens_of(path) if path is not None else torch.zeros(0, 9)
        assert torch.allclose(batch.tokens[row][batch.mask[row]], expected, atol=2e-3)
        mean = sum(expected, torch.zeros(9)) / max(len(expected), 1)
        assert torch.allclose(batch.pooled[row], mean, atol=2e-3)


def test_without_sequences_the_means_alone_are_kept(tmp_path: Path, write: Write) -> None:
    path = write("a")

    column, _ = run(tmp_path / "cache", posts_of(path), with_tokens=False)

    batch = column.batch(np.array([0]))
    assert batch.tokens is None
    assert torch.allclose(batch.pooled[0], tokens_of(path).mean(dim=0), atol=2e-3)


def test_equal_files_share_a_row_and_a_second_run_adds_none(tmp_path: Path, write: Write) -> None:
    first, other = write("a"), write("b")
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(Path(first).read_bytes())

    column, _ = run(tmp_path / "cache", posts_of(first, str(copy), other))
    again, _ = run(tmp_path / "cache", posts_of(other, first))

    assert column.rows[0] == column.rows[1] != column.rows[2]
    assert again.rows.tolist() == column.rows[[2, 0]].tolist()
    assert sum(len(shard) for shard in again.store.shards) == 2


def test_a_width_that_differs_from_the_usual_one_is_told_with_both_names(
    tmp_path: Path, write: Write
) -> None:
    odd, first, third = write("b", width=7), write("a"), write("c")

    column, bad = run(tmp_path / "cache", posts_of(odd, first, third))

    assert str(bad[0]).startswith(
        f"{odd}: expected features 5 wide, as in '{first}', found 7 wide."
    )
    assert sorted(bad) == [0]
    assert (column.rows >= 0).tolist() == [False, True, True]


def test_tables_of_two_widths_are_kept_apart(tmp_path: Path, write: Write) -> None:
    narrow, wide = write("a"), write("b", width=7)

    columns = [run(tmp_path / "cache", posts_of(path))[0] for path in (narrow, wide, narrow)]

    assert [column.store.dim for column in columns] == [9, 11, 9]


def test_a_picture_without_regions_cannot_be_used(tmp_path: Path, write: Write) -> None:
    posts = posts_of(write("a"), None, image="/pictures/x.png")

    _, bad = run(tmp_path / "cache", posts)

    assert list(bad) == [1]
    assert str(bad[1]).startswith(
        "/pictures/x.png: expected region features of this picture in the column 'regions',"
        " found none."
    )


def test_posts_that_all_lack_regions_have_zeros_of_any_width(tmp_path: Path) -> None:
    column, bad = run(tmp_path / "cache", posts_of(None, None))

    batch = column.batch(np.array([1, 0]))
    assert batch.tokens is not None and bad == {}
    assert ((batch.pooled - torch.ones(9)).shape, batch.tokens.shape) == ((2, 9), (2, 1, 1))
    assert not batch.pooled.any() and not batch.present.any()


def change(**parts: Tensor | None) -> bytes:
    """A sound file, but for the tensors given; None: without it."""
    tensors = {**regions(3, 5), **parts}
    return save({name: part for name, part in tensors.items() if part is not None})


ONE_BAD = torch.full((3, 5), 1.0).index_put(
    (torch.tensor(1), torch.tensor(2)), torch.tensor(torch.nan)
)
WRONG = {
    "other": (b"not tensors", "a .safetensors file of region features, found a damaged or other"),
    "cut": (change()[:-8], "a .safetensors file of region features, found a damaged or other"),
    "no boxes": (change(boxes=None), "the tensors 'features' and 'boxes', found no .'boxes'."),
    "flat": (change(features=torch.ones(15)), r"R from 1 to 256, the regions, found \(15,\)"),
    "none": (change(features=torch.ones(0, 5)), r"from 1 to 256, the regions, found \(0, 5\)"),
    "thin": (change(features=torch.ones(3, 0)), r"from 1 to 256, the regions, found \(3, 0\)"),
    "many": (save(regions(257, 2)), r"R from 1 to 256, the regions, found \(257, 2\)"),
    "boxes": (change(boxes=torch.ones(2, 4)), r"boxes of shape \(3, 4\), .*, found \(2, 4\)"),
    "whole": (change(features=torch.ones(3, 5).long()), "features of floating point, found int64"),
    "nan": (change(features=ONE_BAD), "finite features, found infinite ones or NaN"),
    "pixels": (change(boxes=torch.full((3, 4), 200.0)), r"boxes in \[0, 1\], .*, found 200 to 200"),
    "nan box": (change(boxes=torch.full((3, 4), torch.nan)), r"boxes in \[0, 1\], .*, found nan"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_file_that_is_wrong_is_told_with_what_was_found(name: str) -> None:
    data, message = WRONG[name]

    with pytest.raises(PictureError, match=f"^here: expected .*{message}"):
        parse_regions(data, "here")


def test_just_the_most_regions_pass() -> None:
    assert parse_regions(save(regions(256, 2)), "a").shape == (256, 6)


def test_files_that_cannot_be_used_are_told_by_position(tmp_path: Path, write: Write) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(WRONG["cut"][0])
    posts = posts_of("/none.safetensors", str(broken), write("a"), str(tmp_path))

    column, bad = run(tmp_path / "cache", posts)

    assert sorted(bad) == [0, 1, 3]
    assert "expected a file of region features, found no such file" in str(bad[0])
    assert str(bad[1]).startswith(f"{broken}: expected a .safetensors file")
    assert "found a folder" in str(bad[3])
    assert (column.rows >= 0).tolist() == [False, False, True, False]


def test_progress_tells_of_every_post(tmp_path: Path, write: Write) -> None:
    told = list[tuple[str, int, int]]()

    run(tmp_path / "cache", posts_of(write("a"), None), progress=lambda *step: told.append(step))

    assert told[-1] == ("read regions", 2, 2)


def test_the_key_of_regions_names_no_encoder(tiny_vit: Path) -> None:
    device = torch.device("cpu")
    settings = parse_config({"encoders": {"image": {"name": "regions"}}}).encoders
    other = parse_config({"encoders": {"image": {"name": str(tiny_vit)}}}).encoders

    assert image_key(settings, device) == "regions-v1"
    assert image_key(other, device) == FrozenImageEncoder(other, device).key


def test_regions_are_kept_beside_other_features(tmp_path: Path, write: Write) -> None:
    column, _ = run(tmp_path, posts_of(write("a")))

    assert column.store.folder == feature_store(tmp_path, "regions-v1-5", with_tokens=True).folder
    assert column.store.folder.parent == tmp_path / "features"
