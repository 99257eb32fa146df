"""How much time an ensemble takes, and which members that time is for."""

from dataclasses import dataclass

from postsense.registry.table import Registry


@dataclass(frozen=True)
class Effort:
    """A list of members, by how much time there is.

    seconds: of training, encoding included, for 3,600 posts on two idle cores. members: presets.
    stand_ins: those that count only where words, or pictures, are left out since they do not help.
    few: members where labels are few, in the place of the others.
    """

    name: str
    title: str
    seconds: int
    members: tuple[str, ...]
    stand_ins: tuple[str, ...] = ()
    few: tuple[str, ...] = ()


_MEMBERS = ("regression-all", "ridge-all", "ridge-words", "tfidf")
_STAND_INS = ("regression-words", "regression-picture", "ridge-picture")
_FEW = ("few-labels", "ridge-few-labels")
_TRAINED = ("concat-all", "fine-tuned-words")
EFFORTS = Registry(
    "effort",
    [
        Effort(
            "quick",
            "regression on vectors, and on counted words",
            seconds=60,
            members=("regression-all", "tfidf"),
            stand_ins=("regression-words", "regression-picture"),
            few=_FEW,
        ),
        Effort(
            "standard", "and kernels", seconds=90, members=_MEMBERS, stand_ins=_STAND_INS, few=_FEW
        ),
        Effort(
            "best",
            "and a network, and a text encoder that is trained",
            seconds=330,
            members=(*_MEMBERS, *_TRAINED),
            stand_ins=_STAND_INS,
            few=_FEW,
        ),
    ],
)
