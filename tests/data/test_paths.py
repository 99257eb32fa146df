"""Paths of other programs and machines lead to files below the table's folder, never out of it."""

from pathlib import Path

import pytest

from postsense.data import paths
from postsense.data.images import read_picture
from postsense.data.paths import AmbiguousPathError, PictureFinder
from postsense.errors import DataError, PictureError

FILES = ("img/1.jpg", "img/my pic.jpg", "img/as%20is.jpg", "img/Cap.JPG", "deep/er/5.jpg")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (*(f"table/{file}" for file in FILES), "root/far/7.jpg", "outside/9.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path / "table"


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (r"img\1.jpg", "img/1.jpg"),
        (r".\img\1.jpg", "img/1.jpg"),
        ("img/my%20pic.jpg", "img/my pic.jpg"),
        (r"img\my%20pic.jpg", "img/my pic.jpg"),
        ("img/as%20is.jpg", "img/as%20is.jpg"),
        ("file:///home/me/img/my%20pic.jpg", "img/my pic.jpg"),
        ("file:///C:/posts/img/1.jpg", "img/1.jpg"),
        ("/home/me/posts/img/1.jpg", "img/1.jpg"),
        (r"C:\Users\me\posts\img\1.jpg", "img/1.jpg"),
        (r"\\server\share\img\1.jpg", "img/1.jpg"),
        ("/data/upload/3/0a1b2c3d-1.jpg", "img/1.jpg"),
        ("/data/upload/0a1b2c3d-5.jpg", "deep/er/5.jpg"),
        ("/data/local-files/?d=img/1.jpg", "img/1.jpg"),
        ("/data/local-files/?d=mount/img%2Fmy%20pic.jpg", "img/my pic.jpg"),
        ("http://localhost:8080/data/local-files/?d=img/1.jpg", "img/1.jpg"),
        ("IMG/CAP.jpg", "img/Cap.JPG"),
    ],
)
def test_a_path_is_found_below_the_tables_folder(name: str, found: str, folder: Path) -> None:
    assert PictureFinder(folder, None).find(name) == str(folder / found)


@pytest.mark.parametrize("name", ["far/7.jpg", r"far\7.jpg", "/else/far/7.jpg", "/else/7.jpg"])
def test_a_path_is_found_below_the_image_root(name: str, folder: Path) -> None:
    expected = folder.parent / "root/far/7.jpg"
    root = folder.parent / ("root/far" if name == "/else/7.jpg" else "root")
    assert PictureFinder(folder, root).find(name) == str(expected)


@pytest.mark.parametrize(
    "name",
    [
        r"..\outside\9.jpg",
        "..%2foutside%2f9.jpg",
        "%2e%2e/outside/9.jpg",
        "/data/local-files/?d=../outside/9.jpg",
        "/data/upload/../../outside/9.jpg",
        "https://example.org/img/1.jpg",
        "s3://bucket/img/1.jpg",
        "img/none.jpg",
        "img/1.jpg%00",
    ],
)
def test_nothing_is_found_out_of_the_folders_by_a_guess(name: str, folder: Path) -> None:
    found = PictureFinder(folder, folder.parent / "root").find(name)
    assert found in (name, str(folder / name)) and not Path(found).exists()


def test_a_path_that_is_written_may_lead_anywhere_and_comes_first(folder: Path) -> None:
    (folder / "outside").mkdir()
    (folder / "outside/9.jpg").touch()
    finder = PictureFinder(folder, None)
    outside = folder.parent / "outside/9.jpg"
    assert finder.find(str(outside)) == str(outside)
    assert finder.find("../outside/9.jpg") == f"{folder}/../outside/9.jpg"
    assert finder.find(f"file://{outside}") == str(outside)


def test_the_longest_end_of_a_path_wins(folder: Path) -> None:
    (folder / "1.jpg").touch()
    assert PictureFinder(folder, None).find("/home/img/1.jpg") == str(folder / "img/1.jpg")


def test_two_paths_that_only_share_their_last_part_are_not_one_file(folder: Path) -> None:
    finder = PictureFinder(folder / "img", None)
    assert finder.find("/a/train/1.jpg") == str(folder / "img/1.jpg")
    assert finder.find("/a/train/1.jpg") == str(folder / "img/1.jpg")
    with pytest.raises(AmbiguousPathError, match=r"'/a/train/1\.jpg' and '/a/test/1\.jpg' for"):
        finder.find("/a/test/1.jpg")


def test_names_that_differ_in_capitals_alone_are_not_guessed_at(folder: Path) -> None:
    (folder / "img/CAP.jpg").touch()
    if len(list((folder / "img").glob("[cC]*"))) < 2:
        pytest.skip("needs a file system that tells capitals apart")
    assert PictureFinder(folder, None).find("img/cap.jpg") == str(folder / "img/cap.jpg")


def test_many_files_of_a_folder_are_looked_up_in_one_list(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(paths.os.path, "exists", lambda path: bool(asked.append(path)))
    finder = PictureFinder(folder, None)
    found = [finder.find("img/1.jpg") for _ in range(1000)]
    assert found == [str(folder / "img/1.jpg")] * 1000 and len(asked) < 300


def test_an_image_root_that_is_no_folder_is_refused(folder: Path) -> None:
    with pytest.raises(DataError, match="data.image_root: expected a folder of pictures"):
        PictureFinder(folder, folder / "none")


def test_an_address_has_a_message_of_its_own() -> None:
    with pytest.raises(PictureError) as caught:
        read_picture("https://example.org/1.jpg")
    assert str(caught.value) == (
        "https://example.org/1.jpg: expected a picture file, found an address. "
        "Nothing is downloaded: fetch the pictures into a folder, and name the files."
    )
