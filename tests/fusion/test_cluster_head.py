"""The probability of a class is the sum over the clusters that are named after it."""

import torch

from postsense.model.cluster_head import ClusterNames


def test_a_class_gets_the_probabilities_of_its_clusters() -> None:
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    probs = ClusterNames(torch.tensor([1, 0, 1, 1]), 2)(logits).softmax(dim=1)
    clusters = logits.softmax(dim=1)
    expected = torch.stack([clusters[:, 1], clusters[:, 0] + clusters[:, 2] + clusters[:, 3]], 1)
    torch.testing.assert_close(probs, expected)


def test_a_class_without_a_cluster_is_never_predicted_and_finite() -> None:
    logits = torch.tensor([[-3000.0, 3000.0], [0.0, 0.0]])
    named = ClusterNames(torch.tensor([0, 2]), 4)(logits)
    assert torch.isfinite(named).all()
    assert not named.softmax(dim=1)[:, [1, 3]].any()
    assert named.argmax(dim=1).tolist() == [2, 0]


def test_the_names_are_saved_with_the_weights() -> None:
    fresh = ClusterNames(torch.zeros(3, dtype=torch.int64), 3)
    fresh.load_state_dict(ClusterNames(torch.tensor([2, 0, 1]), 3).state_dict())
    assert fresh(torch.eye(3)).argmax(dim=1).tolist() == [2, 0, 1]
