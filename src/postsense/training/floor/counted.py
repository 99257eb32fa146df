"""Texts → words and pairs of words, counted and weighed by how rare they are among some posts."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

from postsense.arrays import Array


@dataclass(frozen=True)
class CountedWords:
    """Counts of each word and pair of words in N texts. counts: (N, F)."""

    counts: csr_array

    def weighed(self, learned: Array) -> csr_array:
        """Rows (N, F) of length 1, of the words that the posts learned from have.

        Source: scikit-learn, TfidfVectorizer(ngram_range=(1, 2)) fitted to the texts at learned.
            count (1 + ln((1 + n) / (1 + n with the word))), then divided by the length of the row

        learned: (n,) positions. Other words weigh nothing, nor do they make a row longer.
        """
        known = np.flatnonzero(self.counts[learned].sum(axis=0))
        counts = self.counts[:, known]
        return csr_array(TfidfTransformer().fit(counts[learned]).transform(counts)).astype(
            np.float32
        )


def merged(vectors: csr_array, learned: Array) -> csr_array:
    """Vectors (N, F) with fewer columns, of which a regression with an L2 penalty says the same.

    Source: ours. Words that one post alone has, as most pairs of words, are one direction to what
    learns from it: its numbers v for them. They become one column, v / |v| times the numbers that
    any post has for them.

    learned: (n,) positions of the posts that are learned from.
    """
    known = vectors[learned].tocoo()
    alone = np.bincount(known.col, minlength=vectors.shape[1]) == 1
    kept = np.flatnonzero(~alone)
    single = alone[known.col]
    owners, place = np.unique(known.row[single], return_inverse=True)
    words, values = known.col[single], known.data[single].astype(np.float64)
    lengths = np.sqrt(np.bincount(place, values**2, len(owners)))
    rows = np.concatenate([kept, words])
    columns = np.concatenate([np.arange(len(kept)), len(kept) + place])
    numbers = np.concatenate([np.ones(len(kept)), values / lengths[place]])
    shape = (vectors.shape[1], len(kept) + len(owners))
    turned = csr_array((numbers, (rows, columns)), shape=shape)
    return csr_array(vectors @ turned).astype(np.float32)


def count_words(texts: list[str], learned: int) -> CountedWords | None:
    """The words of the first texts, counted in all; None where those have none."""
    counter = CountVectorizer(ngram_range=(1, 2), dtype=np.float64)
    try:
        counter.fit(texts[:learned])
    except ValueError:  # an empty vocabulary
        return None
    return CountedWords(csr_array(counter.transform(texts)))
