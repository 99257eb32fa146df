"""Train with and without image-text losses and see on which posts they help.

Usage: python examples/image_text_losses.py
"""

import tempfile
from pathlib import Path

from postsense import PostClassifier
from postsense.data.synthetic import write_synthetic_posts

LOSSES = {"without": {}, "with ITC and ITM": {"losses.itc": 0.1, "losses.itm": 0.1}}


def main() -> None:
    """Print the test accuracy of both, by whether fog hides what the picture shows."""
    with tempfile.TemporaryDirectory() as folder:
        posts = write_synthetic_posts(Path(folder), posts=600)
        for name, losses in LOSSES.items():
            settings = {"training.batch_size": 32, "encoders.projection": 512, **losses}
            classifier = PostClassifier(**settings).fit(posts)
            report = classifier.evaluate(posts, split="test", by="truth.scene_visible")
            print(f"{name}: {report['accuracy']:.3f}")
            for group in report["by"]["groups"]:
                print(
                    f"  visible: {group['value']}, {group['posts']} posts, {group['accuracy']:.3f}"
                )


if __name__ == "__main__":
    main()
