"""Groups of posts → one HTML page that asks nothing of the network."""

import base64
import hashlib
import html
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from io import BytesIO
from typing import Any

from PIL import Image

from postsense.data.anonymization import hide_people
from postsense.data.images import PicturePolicy, decode_picture, read_picture
from postsense.discovery.groups import Group
from postsense.errors import PictureError
from postsense.escaping import shown
from postsense.extras import brought_by
from postsense.posts import Post

THUMBNAIL = PicturePolicy(resize_px=160, crop_px=160, truncated="use")
JPEG_QUALITY = 75
SHOWN_LETTERS = 280


@dataclass(frozen=True)
class ShownPost:
    """A post as the page shows it. picture: a data URI, None without a readable picture."""

    id: str
    text: str
    picture: str | None
    probability: float


@dataclass(frozen=True)
class ShownGroup:
    """A group and its typical posts."""

    group: Group
    posts: Sequence[ShownPost]


def render_page(title: str, groups: Sequence[ShownGroup], notes: Sequence[str] = ()) -> str:
    """The page as HTML: scripts, other sites and forms are forbidden in it, all texts escaped.

    notes: lines above the groups.
    """
    style = _read("page.css")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'"
    environment = jinja_module().Environment(
        autoescape=True,
        undefined=jinja_module().StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
    )
    template = environment.from_string(_read("page.html.j2"))  # the style is a file of ours
    page: str = template.render(title=title, groups=groups, notes=notes, policy=policy, style=style)
    return page


def jinja_module() -> Any:
    """The module `jinja2`. Raises: CorpusError: it is not installed."""
    with brought_by("discover", "jinja2"):
        import jinja2
    return jinja2


def shown_post(post: Post, probability: float) -> ShownPost:
    """The post as the page shows it: shortened, without handles, addresses and links.

    An id that is a link becomes HTTPURL too; groups.json has it as it is.
    """
    text = shown_text(post.text or "")
    return ShownPost(hide_people(post.id), text, thumbnail(post.image), probability)


def shown_text(text: str) -> str:
    """The text in one line; @USER and HTTPURL stand for handles, e-mail addresses and links."""
    line = hide_people(" ".join(html.unescape(text).split()))
    return line if len(line) <= SHOWN_LETTERS else line[: SHOWN_LETTERS - 2].rstrip() + " …"


def thumbnail(picture: str | None) -> str | None:
    """The middle of a picture as a data URI of a JPEG of 160 x 160; None if it cannot be read.

    It is made of pixels alone: where and by what the picture was taken does not come along.
    """
    if picture is None:
        return None
    try:
        pixels = decode_picture(read_picture(picture), picture, THUMBNAIL)
    except PictureError:
        return None
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _printable(value: object) -> object:
    """What is put into the page without control characters, be it shown in a terminal."""
    plain = isinstance(value, str) and not hasattr(value, "__html__")  # as our style has
    return shown(str(value)) if plain else value


@cache
def _read(name: str) -> str:
    return resources.files("postsense.discovery").joinpath(name).read_text("utf-8")
