"""A picture inside a table becomes a file that holds the same, and nothing else is written."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from postsense.data import embedded_pictures
from postsense.data.images import read_picture
from postsense.data.loading import load_posts
from postsense.data.reading import Reading
from postsense.errors import DataError, PictureError

PIXELS = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def encoded(kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, kind)
    return file.getvalue()


def images_of(source: Any, cache: Path) -> list[str | None]:
    return load_posts(source, reading=Reading(cache=cache)).column("image")


@pytest.mark.parametrize(
    "cell",
    [
        encoded(),
        bytearray(encoded()),
        io.BytesIO(encoded()),
        {"bytes": encoded(), "path": "../../1.png"},
        {"bytes": base64.b64encode(encoded()).decode(), "path": None},
        "data:image/png;base64," + base64.b64encode(encoded()).decode(),
    ],
    ids=["bytes", "bytearray", "stream", "struct", "base64", "address"],
)
def test_bytes_are_kept_as_they_are_under_a_name_of_their_content(
    cell: Any, tmp_path: Path
) -> None:
    first, second = images_of([{"image": cell}, {"image": cell}], tmp_path / "cache")
    assert first == second and Path(str(first)).read_bytes() == encoded()
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert files == [Path(str(first))] and files[0].parent.parent == tmp_path / "cache/pictures"


@pytest.mark.parametrize("cell", [Image.fromarray(PIXELS), PIXELS], ids=["PIL", "array"])
def test_pixels_are_kept_without_loss(cell: Any, tmp_path: Path) -> None:
    (path,) = images_of([{"image": cell}], tmp_path)
    with Image.open(str(path)) as kept:
        assert (np.asarray(kept) == PIXELS).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "I", "F", "PA"])
def test_pictures_of_every_mode_can_be_kept(mode: str, tmp_path: Path) -> None:
    picture = Image.fromarray(PIXELS).convert("LA" if mode == "PA" else mode)
    (path,) = images_of([{"image": picture}], tmp_path)
    with Image.open(str(path)) as kept:
        assert kept.size == (8, 6)


def test_a_picture_opened_from_a_file_is_that_file_unless_it_was_changed(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(encoded("JPEG"))
    opened, changed = Image.open(tmp_path / "a.jpg"), Image.open(tmp_path / "a.jpg")
    changed.putpixel((0, 0), (255, 0, 255))
    paths = images_of([{"image": opened}, {"image": changed}], tmp_path / "cache")
    assert paths[0] == str(tmp_path / "a.jpg")
    with Image.open(str(paths[1])) as kept:
        assert kept.getpixel((0, 0)) == (255, 0, 255)


def test_a_struct_without_bytes_names_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded())
    table = pa.table(
        {
            "text": ["a", "b"],
            "image": pa.array(
                [{"bytes": None, "path": "a.png"}, {"bytes": None, "path": None}], STRUCT
            ),
        }
    )
    pq.write_table(table, tmp_path / "posts.parquet")
    assert images_of(tmp_path / "posts.parquet", tmp_path) == [str(tmp_path / "a.png"), None]


def test_parquet_arrow_and_pandas_give_the_same_files(tmp_path: Path) -> None:
    cells = [{"bytes": encoded(), "path": None}, {"bytes": encoded("JPEG"), "path": "b"}]
    table = pa.table({"image": pa.array(cells, STRUCT), "raw": [encoded(), encoded("JPEG")]})
    pq.write_table(table, tmp_path / "posts.parquet")
    frame = pd.DataFrame({"image": cells})
    found = [images_of(each, tmp_path) for each in (table, tmp_path / "posts.parquet", frame)]
    assert found[0] == found[1] == found[2]
    assert [Path(str(path)).suffix for path in found[0]] == [".png", ".jpg"]


def test_what_is_no_picture_or_too_large_is_refused_as_a_file_would_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_pictures, "MAX_BYTES", 1000)
    monkeypatch.setattr("postsense.data.images.MAX_BYTES", 1000)
    large, empty = images_of([{"image": bytes(5000)}, {"image": b""}], tmp_path)
    assert Path(str(large)).stat().st_blocks == 0  # a size and no content
    with pytest.raises(PictureError, match="expected at most 0 MiB"):
        read_picture(str(large))
    with pytest.raises(PictureError, match="found an empty file"):
        read_picture(str(empty))


def test_a_kept_file_that_was_cut_is_written_again(tmp_path: Path) -> None:
    (path,) = images_of([{"image": encoded()}], tmp_path)
    Path(str(path)).write_bytes(b"")
    assert images_of([{"image": encoded()}], tmp_path) == [path]
    assert Path(str(path)).read_bytes() == encoded()


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError) as caught:
        images_of([{"image": encoded()}], tmp_path / "file")
    assert str(caught.value).endswith(
        "found Not a directory. Name another folder in POSTSENSE_CACHE, or in encoders.cache."
    )


def test_a_dataset_of_hugging_face_is_read_with_its_pictures_and_classes(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="needs the package datasets")
    kinds = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])}
    columns = {"image": [Image.fromarray(PIXELS)] * 3, "label": [0, 1, 1]}
    data = datasets.Dataset.from_dict(columns, features=datasets.Features(kinds))
    posts = load_posts(data.select([2, 0]), reading=Reading(cache=tmp_path))
    assert posts.column("label") == ["dog", "cat"]
    with Image.open(posts[0].image) as kept:  # type: ignore[arg-type]
        assert (np.asarray(kept) == PIXELS).all()
