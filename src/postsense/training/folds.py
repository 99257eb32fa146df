"""Labelled posts → folds that keep duplicates together, to learn what posts that are new get."""

import warnings

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold

from postsense.arrays import Array


def folds_of(labels: Array, contents: Array, folds: int, seed: int) -> Array:
    """The fold (N,) of each post, in [0, folds) or less: classes in equal shares, where it can be.

    Posts with the same text or the same picture are in one fold. There are as many folds as asked
    for, or as there are posts of the rarest class, two at least, or as groups; one where nothing
    can be learned from the rest.

    labels: (N,) class numbers. contents: (N, 2) numbers of text and picture, -1: none.
    """
    groups = groups_of(contents)
    counts = np.bincount(labels)[np.unique(labels)]
    count = min(folds, max(2, int(counts.min())), int(counts.max()), len(np.unique(groups)))
    if count < 2:
        return np.zeros(len(labels), dtype=np.int64)
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed % 2**32)
    found = np.zeros(len(labels), dtype=np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # classes that are rarer than there are folds
        for number, (_, held_out) in enumerate(splitter.split(labels, labels, groups)):
            found[held_out] = number
    return found


def groups_of(contents: Array) -> Array:
    """The group (N,) of each post: those that share text or picture, directly or through others.

    contents: (N, 2) int64 numbers of text and picture, -1: none.
    """
    posts = len(contents)
    pairs = []
    for column in contents.T:
        order = np.argsort(column, kind="stable")
        first, second = order[:-1], order[1:]
        same = (column[first] == column[second]) & (column[first] >= 0)
        pairs.append(np.stack([first[same], second[same]]))
    links = np.concatenate(pairs, axis=1)
    graph = coo_array((np.ones(links.shape[1]), (links[0], links[1])), shape=(posts, posts))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)
