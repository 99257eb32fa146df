"""Several classifiers that answer as one: the mean of what they say, moved to where folds were."""

from dataclasses import dataclass, replace

import numpy as np

from postsense.arrays import Array
from postsense.config import Config
from postsense.data.seen import Seen
from postsense.inputs.preparation import PreparedPosts
from postsense.inputs.readings import read_as
from postsense.posts import LabelKind, Posts
from postsense.prediction.classifier import (
    Classifier,
    Predictions,
    average_predictions,
)
from postsense.prediction.inference import Outputs, softmax
from postsense.progress import Progress, silent

_LEAST = 1e-12  # of a probability, where its logarithm is taken


@dataclass(frozen=True)
class Pool:
    """How probabilities of members become one answer.

    weights: (M,) >= 0, which sum to 1. prior: (K,) shares of the classes in training. prior_shift:
    tau in [0, 1]. temperature: T > 0. trust: share of the answer that is the members', in [0, 1];
    the rest is the prior's, where folds told the labels from chance no better than it.
    """

    weights: tuple[float, ...]
    prior: tuple[float, ...]
    prior_shift: float = 0.0
    temperature: float = 1.0
    trust: float = 1.0

    def join(self, answers: Array) -> Array:
        """Probabilities (N, K) of those of the members, (M, N, K).

        Source: ours. q = trust sum_m w_m p_m + (1 - trust) prior; then q prior^-tau, which is what
            Saerens, Latinne & Decaestecker 2002 do with tau = 1 for classes that are all as
            frequent; then ^(1 / T), Guo et al. 2017.
        """
        prior = np.array(self.prior)
        mean = np.tensordot(np.array(self.weights), answers, axes=1)
        mixed = self.trust * mean + (1 - self.trust) * prior
        logits = np.log(np.clip(mixed, _LEAST, None))
        logits -= self.prior_shift * np.log(np.clip(prior, _LEAST, None))
        return softmax(logits / self.temperature)


@dataclass(frozen=True)
class Member:
    """A classifier of an ensemble. classifiers: the seeds of it, whose mean it is."""

    name: str
    classifiers: tuple[Classifier, ...]

    @property
    def config(self) -> Config:
        """The settings by which it reads posts."""
        return self.classifiers[0].config

    def outputs(self, prepared: PreparedPosts, rows: Array) -> Outputs:
        """What it says of some usable rows of posts that are prepared for the ensemble."""
        own = read_as(prepared, self.config)
        each = [one.outputs(own, rows) for one in self.classifiers]
        probs = np.mean([softmax(one.logits) for one in each], axis=0)
        return replace(each[0], logits=np.log(np.clip(probs, _LEAST, None)))


@dataclass(frozen=True)
class Ensemble:
    """Members that are asked together, and how their answers are joined.

    config: by what the posts are read that several of them share, and how it was trained.
    """

    config: Config
    classes: tuple[str, ...]
    members: tuple[Member, ...]
    pool: Pool
    label_kind: LabelKind = "text"
    seen: Seen | None = None

    @property
    def member_configs(self) -> tuple[Config, ...]:
        """The settings by which the members read posts."""
        return tuple(member.config for member in self.members)

    def predict(self, posts: Posts, progress: Progress = silent) -> Predictions:
        """Classify posts; labels are not looked at."""
        return average_predictions([self], posts, progress)

    def outputs(
        self,
        prepared: PreparedPosts,
        rows: Array,
        progress: Progress = silent,
        *,
        with_aligned: bool = False,
    ) -> Outputs:
        """What the ensemble says of some usable rows, and each member.

        with_aligned: nothing is compared: an ensemble has no vectors of its own.
        """
        said = []
        for number, member in enumerate(self.members):
            said.append(member.outputs(prepared, rows))
            progress("members", number + 1, len(self.members))
        answers = np.stack([softmax(one.logits) for one in said])  # (M, N, K)
        joined = self.pool.join(answers.astype(np.float64))
        attended = next(
            (one.comment_weights for one in said if one.comment_weights is not None), None
        )
        logits = np.log(np.clip(joined, _LEAST, None)).astype(np.float32)
        return Outputs(logits, attended, members=answers.transpose(1, 0, 2))
