"""Train on synthetic posts with a known right answer and look at what the picture adds.

Usage: python examples/supervised.py
"""

import tempfile
from pathlib import Path

from postsense import PostClassifier
from postsense.data.synthetic import write_synthetic_posts


def main() -> None:
    """Print the test accuracy of words alone and of words with the picture."""
    with tempfile.TemporaryDirectory() as folder:
        posts = write_synthetic_posts(Path(folder), posts=600)
        for preset in ("text-only", "concat"):
            classifier = PostClassifier(preset=preset, **{"training.batch_size": 32}).fit(posts)
            print(preset, round(classifier.evaluate(posts, split="test")["accuracy"], 3))


if __name__ == "__main__":
    main()
