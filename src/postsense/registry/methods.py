"""The methods: what each learns from and needs. A new one is a line here and a file of its own."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from postsense.registry.table import Registry


@dataclass(frozen=True)
class Method:
    """A way to train a classifier.

    train: "module:function" of (TrainingData, Config, folder of checkpoints, progress) that returns
    Trained; where it combines, see `training.methods.ensemble`. prepare: "module:function" of
    Config that refuses what is missing on this machine, before posts are encoded; None: nothing can
    be. learner: "module:object" of a `training.learners.Learner`, for a method that fits a head in
    one go to vectors that do not change; None: it goes through the posts again and again.
    kernel: the vectors are how alike a post is to those of train. combines: it trains no model but
    others, and joins what they say. preset: the settings that come with it. learns_from_labels: of
    train; else it names its classes by a few labels of val. learns_from_corpus: it learns from
    similar posts of a corpus, which must be named. second_step: it needs a loss with an update of
    its own.
    """

    name: str
    title: str
    train: str | Callable[..., Any]
    learner: str | Any | None = None
    kernel: bool = False
    combines: bool = False
    prepare: str | Callable[..., None] | None = None
    preset: str | None = None
    learns_from_labels: bool = True
    learns_from_corpus: bool = False
    second_step: bool = False

    @property
    def iterates(self) -> bool:
        """Whether it goes through the posts again and again, in steps."""
        return self.learner is None and not self.combines


METHODS = Registry(
    "method",
    [
        Method(
            "supervised",
            "labels alone",
            "postsense.training.methods.supervised:train_supervised",
        ),
        Method(
            "regression",
            "labels alone: multinomial regression on vectors that stay as they are",
            "postsense.training.methods.on_vectors:train_on_vectors",
            learner="postsense.training.learners.regression:REGRESSION",
            preset="regression",
        ),
        Method(
            "ridge",
            "labels alone: kernel ridge regression, by how alike posts are",
            "postsense.training.methods.on_vectors:train_on_vectors",
            learner="postsense.training.learners.ridge:RIDGE",
            kernel=True,
            preset="ridge",
        ),
        Method(
            "ensemble",
            "several of these and simpler ones, which folds choose and weigh (the default)",
            "postsense.training.methods.ensemble:train_ensemble",
            combines=True,
        ),
        Method(
            "self_training",
            "labels, and soft labels of similar posts of a corpus",
            "postsense.training.methods.self_training:train_self_training",
            learns_from_corpus=True,
        ),
        Method(
            "two_step_contrastive",
            "labels, and contrast within, then across modalities",
            "postsense.training.methods.two_step_contrastive:train_two_step_contrastive",
            preset="spp-scl",
            second_step=True,
        ),
        Method(
            "cluster_pseudo_labels",
            "clusters of unlabelled posts, named by a few labels",
            "postsense.training.methods.cluster_pseudo_labels:train_cluster_pseudo_labels",
            prepare="postsense.training.methods.cluster_pseudo_labels:prepare_cluster_pseudo_labels",
            preset="itrp",
            learns_from_labels=False,
        ),
    ],
)
