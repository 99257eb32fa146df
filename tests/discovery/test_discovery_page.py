"""The page of groups: whole, escaped, and asking nothing of the network."""

import base64
import hashlib
import io
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from postsense.discovery.groups import Group
from postsense.discovery.page import (
    ShownGroup,
    ShownPost,
    render_page,
    shown_post,
    shown_text,
    thumbnail,
)
from postsense.posts import Post

VOID = {"meta", "img", "br", "link", "input", "hr"}
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;"


class Read(HTMLParser):
    """What is in a page; refuses elements that are not closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def group_of(**given: Any) -> Group:
    fields = {
        "numbers": (1,),
        "name": "food",
        "size": 3,
        "share": 0.5,
        "words": ("soup", "bread"),
        "shows": ("soup bowl",),
        "typical": (0,),
        "labels": {"good": 2},
    }
    return Group(**{**fields, **given})


@pytest.fixture
def page() -> str:
    dot = "data:image/jpeg;base64,AAAA"
    posts = [ShownPost("p1", "hot soup", dot, 0.83), ShownPost("p2", "", None, 0.5)]
    other = group_of(numbers=(2, 3), name="cats", words=(), shows=(), labels={})
    return render_page("Groups of t", [ShownGroup(group_of(), posts), ShownGroup(other, [])], ["n"])


def test_a_page_says_what_the_groups_are(page: str) -> None:
    text = " ".join(Read(page).text.split())
    for part in ("food (3)", "group 1: 3 posts, 50.0 %", "soup, bread", "soup bowl", "good: 2"):
        assert part in text
    for part in ("hot soup", "p1, 83 %", "(no words)", "no picture", "groups 2 and 3"):
        assert part in text


@pytest.mark.parametrize(
    ("numbers", "name", "line"),
    [
        ((1,), "group 1", "group 1 3 posts, 50.0 %"),
        ((2,), "group 1", "group 1 group 2: 3 posts, 50.0 %"),
        ((1, 2), "group 1", "group 1 groups 1 and 2: 3 posts, 50.0 %"),
    ],
)
def test_numbers_of_a_group_are_under_its_name_unless_that_says_them(
    numbers: tuple[int, ...], name: str, line: str
) -> None:
    page = render_page("t", [ShownGroup(group_of(numbers=numbers, name=name), [])])
    assert f"(3) {line}" in " ".join(Read(page).text.split())


def test_a_page_refers_to_nothing_outside_itself(page: str) -> None:
    for tag, attributes in Read(page).tags:
        assert tag not in ("script", "link", "iframe", "form", "object", "base")
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        for name in ("src", "href", "srcset", "action", "poster"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/jpeg;base64,"))
    assert not re.search(r"https?:|@import|url\(", page)


def test_a_page_links_to_all_of_its_groups(page: str) -> None:
    tags = Read(page).tags
    links = {str(attributes["href"]) for tag, attributes in tags if tag == "a"}
    assert (
        links == {f"#{a['id']}" for tag, a in tags if tag == "section"} == {"#group-1", "#group-2"}
    )


def test_the_policy_allows_the_style_of_the_page_and_pictures_in_it_alone(page: str) -> None:
    style = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style[0].encode()).digest()).decode()
    metas = [a for tag, a in Read(page).tags if tag == "meta"]
    policy = next(a["content"] for a in metas if a.get("http-equiv") == "Content-Security-Policy")
    assert policy == f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'"
    assert len(style) == 1


def test_a_page_fits_phones_and_dark_rooms(page: str) -> None:
    metas = [a for tag, a in Read(page).tags if tag == "meta"]
    assert {"width=device-width, initial-scale=1"} <= {str(a.get("content")) for a in metas}
    assert "prefers-color-scheme: dark" in page
    assert "max-width: 30rem" in page


def test_whatever_users_write_is_text() -> None:
    group = group_of(name=EVIL, words=(EVIL,), shows=(EVIL,), labels={EVIL: 1})
    post = ShownPost(EVIL, EVIL, None, 0.5)
    picture = ShownPost(EVIL, "x", "data:image/jpeg;base64,AAAA", 0.5)
    read = Read(render_page(EVIL, [ShownGroup(group, [post, picture])], [EVIL]))
    assert {tag for tag, _ in read.tags}.isdisjoint({"script"})
    assert [a["alt"] for tag, a in read.tags if tag == "img"] == [f"Picture of post {EVIL}"]
    assert read.text.count(EVIL) >= 8


def test_control_characters_are_shown_as_such() -> None:
    evil = "a\x1b[2J\x9b\u202e"
    post = ShownPost(evil, evil, None, 0.5)
    page = render_page(evil, [ShownGroup(group_of(name=evil, words=[evil]), [post])], [evil])
    assert not {"\x1b", "\x9b", "\u202e"} & set(page)
    assert page.count(r"a\x1b[2J\x9b\u202e") == 8


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("hi @Some_One, look", "hi @USER, look"),
        ("RT @a: .@b ＠c @d.e.social.", "RT @USER: .@USER @USER @USER."),
        ("@me@mastodon.example mail a.b+c@d.example", "@USER mail @USER"),
        ("see https://t.co/x WWW.x.y HTTP://z", "see HTTPURL HTTPURL HTTPURL"),
        ("pic.twitter.com/abc &amp; t.me/alice", "HTTPURL & HTTPURL"),
        ("a &amp; b &#64;c\n\n d 😀 it's", "a & b @USER d 😀 it's"),
        ("@ home", "@ home"),
        ("x" * 300, "x" * 278 + " …"),
        ("x" * 280, "x" * 280),
    ],
)
def test_texts_are_shown_in_a_line_without_handles_and_links(text: str, shown: str) -> None:
    assert shown_text(text) == shown


def test_a_thumbnail_is_a_small_jpeg_without_what_the_camera_wrote(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "secret camera"
    pixels = np.random.default_rng(0).integers(0, 255, (400, 700, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif)
    uri = thumbnail(str(tmp_path / "a.jpg"))
    assert uri is not None and uri.startswith("data:image/jpeg;base64,")
    data = base64.b64decode(uri.partition(",")[2])
    assert b"secret" not in data
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.size) == ("JPEG", (160, 160))


def test_a_picture_that_cannot_be_read_has_no_thumbnail(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"<svg onload=alert(1)>")
    assert [thumbnail(name) for name in (str(tmp_path / "a.jpg"), "no-such", None)] == [None] * 3


def test_an_id_is_shown_without_handles() -> None:
    link = "https://x.example/some_one/status/12"
    ids = [shown_post(Post(name, text="a"), 0.5).id for name in (link, "@some_one/12", "p12")]
    assert ids == ["HTTPURL", "@USER/12", "p12"]


def test_a_post_is_shown_with_its_picture(draw_picture: Callable[[str, int], str]) -> None:
    shown = shown_post(Post("p", text=None, image=draw_picture("a.png", 0)), 0.25)
    assert (shown.id, shown.text, shown.probability) == ("p", "", 0.25)
    assert shown.picture is not None
