"""What a model said of labelled posts that it had not learned from."""

from dataclasses import dataclass

from postsense.arrays import Array


@dataclass(frozen=True)
class Unseen:
    """Answers of folds. rows: (N,) positions of posts; probs: (N, K) by what had not seen them."""

    rows: Array
    probs: Array
