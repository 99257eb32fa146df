"""Few labels, many old posts with comments: what readers' comments and self-training add.

Usage: python examples/self_training.py
"""

import tempfile
from pathlib import Path

from postsense import PostClassifier
from postsense.config import CorpusSettings
from postsense.corpus.building import build_corpus
from postsense.data.synthetic import write_synthetic_posts
from postsense.retrieval.indexing import index_corpus


def main() -> None:
    """Print the test accuracy without and with a corpus, and the hints of one post."""
    few = {"data.train_fraction": 0.2, "training.batch_size": 32}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        posts = write_synthetic_posts(folder / "posts", posts=600)
        old_posts = write_synthetic_posts(folder / "old", posts=1500, seed=1)
        build_corpus([old_posts], folder / "corpus", CorpusSettings())
        index_corpus(folder / "corpus")

        base = PostClassifier(**few).fit(posts)
        cast = PostClassifier("self_training", corpus=folder / "corpus", **few).fit(posts)

        print("base", round(base.evaluate(posts, split="test")["accuracy"], 3))
        print("cast", round(cast.evaluate(posts, split="test")["accuracy"], 3))
        text = "so glad to sit at my desk in the office today, with this out of the window"
        image = folder / "posts" / "images" / "00001.jpg"
        predictions = cast.predictions([{"text": text, "image": str(image)}])
        print(predictions.labels[0])
        for hint in (predictions.hints or [()])[0]:
            print(f"  {hint.weight:.2f} {hint.comment}")


if __name__ == "__main__":
    main()
