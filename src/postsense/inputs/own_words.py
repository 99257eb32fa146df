"""The words of posts that vectors without an encoder are made of: text, and title if it is read."""

from typing import Any

import pyarrow as pa

from postsense.config import Config
from postsense.posts import Posts


def own_words(posts: Posts, config: Config) -> pa.ChunkedArray:
    """The words of each post, null where it has none. A text alone is not copied."""
    texts = posts.table["text"]
    if "title" not in config.inputs:
        return texts
    pairs = zip(texts.to_pylist(), posts.column("title"), strict=True)
    return pa.chunked_array([pa.array([_joined(*pair) for pair in pairs], pa.string())])


def _joined(*parts: Any) -> str | None:
    return " ".join(part for part in parts if part is not None) or None
