"""One text, one picture or both → the most similar posts of a corpus, to be looked at."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from postsense.config import RetrievalSettings
from postsense.data.images import inspect_picture, read_picture
from postsense.posts import Posts, posts_of_texts
from postsense.progress import Progress, silent
from postsense.retrieval.queries import embed_queries
from postsense.retrieval.search import open_searcher


@dataclass(frozen=True)
class Answer:
    """A similar post. score, image_score, text_score: fused, and cosines, in [-1, 1]."""

    id: str
    score: float
    image_score: float
    text_score: float
    text: str | None
    image: str | None
    comments: tuple[str, ...]


def search_corpus(
    folder: Path,
    text: str | None,
    image: Path | None,
    top_k: int,
    alpha: float,
    progress: Progress = silent,
) -> list[Answer]:
    """The top_k most similar posts, best first; fewer if the corpus has fewer.

    alpha: weight of the picture in [0, 1]; it plays no part where text or image is None.
    Raises: CorpusError: the corpus cannot be used. PictureError: the picture cannot.
    """
    if image is not None:
        inspect_picture(read_picture(str(image)), str(image))  # a broken one would count as none
    searcher = open_searcher(folder, RetrievalSettings(alpha=alpha, min_score=-1))
    query = embed_queries(_post(text, image), searcher.corpus, progress)
    weight = np.array([alpha], dtype=np.float32)
    found = searcher.index.search(query.image, query.text, weight, top_k)  # what is the same, too
    numbers = found.numbers[0][found.numbers[0] >= 0]
    image_vectors, text_vectors = searcher.corpus.vectors(numbers)
    return [
        Answer(
            post.id,
            float(score),
            float(image_vector.astype(float) @ query.image[0]),
            float(text_vector.astype(float) @ query.text[0]),
            post.text,
            post.image,
            post.comments,
        )
        for post, score, image_vector, text_vector in zip(
            searcher.corpus.posts(numbers),
            found.scores[0],
            image_vectors,
            text_vectors,
            strict=False,
        )
    ]


def _post(text: str | None, image: Path | None) -> Posts:
    posts = posts_of_texts([text], "query")
    if image is None:
        return posts
    place = posts.table.schema.get_field_index("image")
    field = posts.table.schema.field(place)
    return Posts(posts.table.set_column(place, field, [[str(image.resolve())]]), posts.name)
