"""Method `cluster_pseudo_labels`: posts are clustered, and the model learns to tell the clusters.

Source: Sun et al. 2023, "Unsupervised multimodal learning for image-text relation classification
in tweets" (ITRp), Algorithm 1.
    repeat: for each subset X_k of the posts:
        e = [text encoder(X_k); image encoder(X_k)]          as they are now
        pseudo-labels = clusters of e;  X'_k = X_k, resampled so that clusters weigh alike
        the classifier begins anew; one pass over X'_k trains it and the encoders that train
    name the clusters after the classes
Deviation: no label is read before the clusters are named, and those that name them are of val: the
released code takes the labels of the test posts, for the naming and for the best iteration
(clustering.mapping=test_oracle does the first). Subsets are drawn anew in every pass and are of
equal size, where the paper has fixed slices. Features of frozen encoders are standardised, and
both modalities weigh alike in distances (clustering.scaling); the paper takes them as they come.
"""

import logging
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path

import numpy as np
import torch
from torch import nn

from postsense.arrays import Array
from postsense.config import ClusteringSettings, Config
from postsense.errors import DataError
from postsense.evaluation.cluster_names import matched_share, name_clusters
from postsense.inputs.batches import PostDataset
from postsense.model.build import InnerEncoders, build_model
from postsense.model.cluster_head import ClusterNames
from postsense.model.post_model import Branch, PostModel
from postsense.parallel.device import pick_device
from postsense.prediction.inference import predict_logits, predict_outputs
from postsense.progress import Progress, silent
from postsense.training.clusters import Clusters, cluster_vectors, equal_scaled, need_packages
from postsense.training.labeled import TrainingData, labeled_phase, new_model
from postsense.training.loop import run_phase
from postsense.training.phase import Renewal
from postsense.training.resampling import resample
from postsense.training.trained import Trained

logger = logging.getLogger(__name__)
_SHUFFLE, _CLUSTER, _RESAMPLE, _WEIGHTS = range(4)  # each kind of choice has seeds of its own


def prepare_cluster_pseudo_labels(config: Config) -> None:
    """Import what the clustering needs. Raises: CorpusError: it is not installed."""
    need_packages(config.clustering)


def train_cluster_pseudo_labels(
    data: TrainingData, config: Config, folder: Path, progress: Progress = silent
) -> Trained:
    """Train one classifier from one seed on clusters of data.train, named by data.naming.

    An epoch of the loop is an iteration: a subset of the posts, of training.epochs times all.
    Raises: DataError: no post to name clusters by, fewer posts or fewer that differ than clusters.
    """
    naming = _naming_posts(data)
    _refuse_small_subsets(len(data.train), config.clustering)
    _warn_of_classes_without_cluster(len(data.classes), config.clustering.clusters)
    iterations = config.training.epochs * subset_count(len(data.train), config.clustering)
    clusters = tuple(str(number) for number in range(config.clustering.clusters))
    unnamed = replace(data, classes=clusters)
    phase = replace(
        labeled_phase("train", unnamed, config),
        val=replace(naming, rows=naming.rows[:0], labels=None),  # no label selects an iteration
        settings=config.training.model_copy(update={"epochs": iterations}),
        before_epoch=Renewing(data.train, config),
    )
    model = new_model(unnamed, config)
    state = run_phase(phase, model, folder, progress)
    belongs = _name(model, naming, len(data.classes), config)
    model.head = nn.Sequential(
        model.head, ClusterNames(torch.from_numpy(belongs), len(data.classes))
    )
    mapping = {
        "fitted_on": "val" if config.clustering.mapping == "dev" else "test",
        "posts": len(naming),
        "clusters": [data.classes[number] for number in belongs],
    }
    return Trained(model.eval(), state, {"mapping": mapping})


def subset_count(posts: int, settings: ClusteringSettings) -> int:
    """Into how many subsets the posts are split, so that none is larger than asked for."""
    return max(1, ceil(posts / settings.subset))


@dataclass(frozen=True)
class Renewing:
    """What each iteration learns from: a subset of the posts, with its clusters as labels.

    It depends on the weights, the seed and the iteration alone, so that training can be resumed.
    """

    posts: PostDataset
    config: Config

    def __call__(self, model: PostModel, iteration: int) -> Renewal:
        """Cluster the subset, resample it, and put fresh weights into fusion and head.

        record: inertia is a vector's mean squared distance to its center, largest_cluster a share
        of the posts, agreement the share of posts that the model, before its fusion and head begin
        anew, puts where the clusters do. At first it has nothing to agree by.
        """
        subset = self.subset(iteration)
        settings = self.config.clustering
        outputs = predict_outputs(
            model,
            subset,
            pick_device(self.config.training),
            workers=self.config.training.workers,
            with_vectors=True,
        )
        assert outputs.vectors is not None
        vectors = _scaled(outputs.vectors, model, settings)
        clusters = cluster_vectors(vectors, settings, self._seed(_CLUSTER, iteration))
        chosen = resample(clusters.numbers, settings.sampling, self._seed(_RESAMPLE, iteration))
        record = _record(clusters)
        if iteration > 0:
            said = outputs.logits.argmax(axis=1)
            record["agreement"] = matched_share(said, clusters.numbers, settings.clusters)
        renew_weights(model, self.config, self._seed(_WEIGHTS, iteration))
        train = replace(subset, rows=subset.rows[chosen], labels=clusters.numbers[chosen])
        return Renewal(train, (model.fusion, model.head), record)

    def subset(self, iteration: int) -> PostDataset:
        """The posts of an iteration; those of one pass are all posts, each once."""
        count = subset_count(len(self.posts), self.config.clustering)
        pass_, number = divmod(iteration, count)
        generator = np.random.default_rng(self._seed(_SHUFFLE, pass_))
        order = generator.permutation(len(self.posts))
        chosen = np.sort(np.array_split(order, count)[number])
        return replace(self.posts, rows=self.posts.rows[chosen])

    def _seed(self, kind: int, number: int) -> int:
        sequence = np.random.SeedSequence([self.config.seed, kind, number])
        return int(sequence.generate_state(1)[0])


def renew_weights(model: PostModel, config: Config, seed: int) -> None:
    """Put the weights into fusion and head, in place, that a new model of this seed would have."""
    encoders = InnerEncoders(None, None, _read_dim(model.text), _read_dim(model.image))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = build_model(config, encoders, config.clustering.clusters)
    model.fusion.load_state_dict(fresh.fusion.state_dict())
    model.head.load_state_dict(fresh.head.state_dict())


def _naming_posts(data: TrainingData) -> PostDataset:
    if data.naming is None or not len(data.naming):
        raise DataError(
            "clustering.mapping",
            "labelled posts to name the clusters by",
            "none that can be read in the split it asks for",
            "Label some posts of val, or use 'postsense discover TABLE --out RUN --clusters K'.",
        )
    return data.naming


def _refuse_small_subsets(posts: int, settings: ClusteringSettings) -> None:
    smallest, clusters = posts // subset_count(posts, settings), settings.clusters
    if smallest < clusters:
        raise DataError(
            "clustering",
            "a post for each cluster at least",
            f"{smallest} for {clusters} clusters in a subset",
            "Lower clustering.clusters, raise clustering.subset, or give more posts.",
        )


def _warn_of_classes_without_cluster(classes: int, clusters: int) -> None:
    if clusters < classes:
        logger.warning(
            "%d clusters for %d classes: %d of them will never be predicted; raise "
            "clustering.clusters",
            clusters,
            classes,
            classes - clusters,
        )


def _name(model: PostModel, naming: PostDataset, classes: int, config: Config) -> Array:
    """The class number (k,) of each cluster."""
    assert naming.labels is not None
    device, workers = pick_device(config.training), config.training.workers
    said = predict_logits(model, naming, device, workers=workers).argmax(axis=1)
    model.cpu()
    return name_clusters(said, naming.labels, config.clustering.clusters, classes)


def _scaled(vectors: Array, model: PostModel, settings: ClusteringSettings) -> Array:
    """What the fusion reads of each post (N, D), ready to be clustered."""
    if settings.scaling == "none":
        return vectors
    text = 0 if model.text is None else model.text.dim
    parts = [part for part in (vectors[:, :text], vectors[:, text:]) if part.shape[1]]
    return equal_scaled(parts)


def _record(clusters: Clusters) -> dict[str, float]:
    posts = len(clusters.numbers)
    largest = int(np.bincount(clusters.numbers).max())
    return {"inertia": clusters.inertia / posts, "largest_cluster": largest / posts}


def _read_dim(branch: Branch | None) -> int | None:
    """Width of what a branch reads, before its projection."""
    return None if branch is None else len(branch.mean)
