"""An ensemble and posts → how much each member, and words, picture and comments, said of each."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from postsense.arrays import Array
from postsense.inputs.hiding import has_part, hide, parts_read
from postsense.inputs.preparation import PreparedPosts
from postsense.prediction.classifier import AnyClassifier, Predictions
from postsense.prediction.ensemble import Ensemble
from postsense.prediction.inference import Outputs, softmax


@dataclass(frozen=True)
class MemberSays:
    """What a member said of a post. weight: its share of the mean. label: the likeliest class.

    probability: what it gives the label that the ensemble gave.
    """

    member: str
    weight: float
    label: str
    probability: float


@dataclass(frozen=True)
class PartSays:
    """What words, picture or comments brought to the label of a post.

    gain: the probability of the ensemble's label, less what it is when the part is hidden.
    """

    part: str
    gain: float


def members_say(ensemble: Ensemble, outputs: Outputs, predicted: Array) -> list[list[MemberSays]]:
    """What each member said of N posts. predicted: (N,) the class that each was given."""
    assert outputs.members is not None
    likeliest = outputs.members.argmax(axis=2)  # (N, M)
    given = np.take_along_axis(outputs.members, predicted[:, None, None], axis=2)[..., 0]
    said = []
    for labels, probs in zip(likeliest.tolist(), given.tolist(), strict=True):
        each = zip(ensemble.members, ensemble.pool.weights, labels, probs, strict=True)
        said.append(
            [
                MemberSays(member.name, weight, ensemble.classes[label], probability)
                for member, weight, label, probability in each
            ]
        )
    return said


def parts_say(
    ensembles: Sequence[Ensemble], prepared: PreparedPosts, rows: Array, probs: Array
) -> list[list[PartSays]]:
    """What each part of N usable posts brought; () of one that the post lacks.

    probs: (N, K) mean probabilities of the ensembles, which differ by their seed.
    """
    predicted = probs.argmax(axis=1)[:, None]
    before = np.take_along_axis(probs, predicted, axis=1)[:, 0]
    said: list[list[PartSays]] = [[] for _ in rows]
    for part in parts_read(prepared):
        there = np.flatnonzero(has_part(prepared, part)[rows])
        if not len(there):
            continue
        without = hide(prepared, part)
        each = [softmax(one.outputs(without, rows[there]).logits) for one in ensembles]
        after = np.take_along_axis(np.mean(each, axis=0), predicted[there], axis=1)[:, 0]
        for place, gain in zip(there.tolist(), (before[there] - after).tolist(), strict=True):
            said[place].append(PartSays(part, gain))
    return said


def with_evidence(
    predictions: Predictions,
    classifiers: Sequence[AnyClassifier],
    outputs: Sequence[Outputs],
    prepared: PreparedPosts,
    rows: Array,
) -> Predictions:
    """The predictions with what members and parts said, where all classifiers are ensembles.

    Of several seeds the first one's members are named. outputs: what each classifier said of those
    rows that are usable. rows: of prepared posts, those predicted.
    """
    ensembles = [one for one in classifiers if isinstance(one, Ensemble)]
    if len(ensembles) < len(classifiers):
        return predictions
    fine = np.flatnonzero(np.isin(rows, prepared.usable))
    members: list[tuple[MemberSays, ...]] = [()] * len(rows)
    parts: list[tuple[PartSays, ...]] = [()] * len(rows)
    if len(fine):
        probs, first = predictions.probs[fine], ensembles[0]
        by_members = members_say(first, outputs[0], probs.argmax(axis=1))
        by_parts = parts_say(ensembles, prepared, rows[fine], probs)
        for place, said, brought in zip(fine.tolist(), by_members, by_parts, strict=True):
            members[place], parts[place] = tuple(said), tuple(brought)
    return replace(predictions, members=tuple(members), parts=tuple(parts))
