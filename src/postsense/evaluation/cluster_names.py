"""Clusters and labels of posts → the class that each cluster is named after."""

import numpy as np
from scipy.optimize import linear_sum_assignment

from postsense.arrays import Array


def name_clusters(clusters: Array, labels: Array, k: int, classes: int) -> Array:
    """The class number (k,) of each cluster, so that as many posts as can be are right.

    Source: Sun et al. 2023, ITRp, section 3.5: the permutation with the best accuracy.
    Deviation: the labels are the caller's, where the released code takes those of the test posts.
    k > K: a cluster is named after most of its posts, but every class that occurs keeps one
    cluster at least; ties and empty clusters go to the commonest class. k < K: the clusters get
    different classes, and those without a cluster are never predicted.

    Args:
        clusters: (n,) int64 in 0..k-1. labels: (n,) int64 in 0..K-1. classes: K.
    """
    table = contingency(clusters, labels, k, classes)
    belongs = np.empty(k, dtype=np.int64)
    if k <= classes:
        rows, columns = linear_sum_assignment(table, maximize=True)
        belongs[rows] = columns
        return belongs
    common = table.sum(axis=0)
    order = np.argsort(-common, kind="stable")  # commonest first, so that argmax prefers it
    belongs[:] = order[table[:, order].argmax(axis=1)]
    occurring = np.flatnonzero(common)
    loss = table.max(axis=1, keepdims=True) - table[:, occurring]  # posts given up, (k, K')
    renamed = belongs[:, None] != occurring  # of equal losses the one with the fewest new names
    rows, columns = linear_sum_assignment(loss * (k + 1) + renamed)
    belongs[rows] = occurring[columns]
    return belongs


def matched_share(clusters: Array, others: Array, k: int) -> float:
    """The share of posts in the same cluster, however two clusterings number their k clusters."""
    table = contingency(clusters, others, k, k)
    rows, columns = linear_sum_assignment(table, maximize=True)
    return float(table[rows, columns].sum() / len(clusters))


def contingency(clusters: Array, labels: Array, k: int, classes: int) -> Array:
    """How many posts (k, K) of each cluster have each label."""
    counts = np.bincount(clusters * classes + labels, minlength=k * classes)
    table: Array = counts.reshape(k, classes)
    return table
