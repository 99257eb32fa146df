"""An ensemble and a number of posts → about how long it trains, and which members that leaves out.

The figures were measured on two cores of an AMD EPYC, idle. They decide nothing but what is left
out of tables that are much larger, and so are the same on every machine.
"""

from dataclasses import dataclass

from postsense.config import Config
from postsense.registry.efforts import EFFORTS

MEASURED_POSTS = 3600  # that the seconds of an effort are for
_TEXT, _PICTURE = 0.0021, 0.0040  # seconds a post, encoded
_NUMBER = 5e-7  # seconds a number of a vector, over folds and penalties
_WIDTHS = {"text": 384, "image": 1280, "lexical": 28, "tfidf": 2000, "comments": 384}
_KERNEL = 9e-11  # seconds a post, point and number or point that is compared or solved
_STEP = 5e-5  # seconds a post and epoch, of layers on kept features
_ENCODER = 1.1e-2  # seconds a post and epoch, of an encoder that trains
_MOST_NUMBERS = 2**28  # of vectors or a kernel that are in memory at once: 1 GiB in float32
_START = 16.0  # seconds of starting, simple answers, measuring and writing


@dataclass(frozen=True)
class Cost:
    """seconds: by member, of folds and the whole. encoding: once, with all that is not theirs."""

    seconds: dict[str, float]
    encoding: float

    @property
    def total(self) -> float:
        """Seconds in all."""
        return self.encoding + sum(self.seconds.values())


def cost_of(config: Config, members: dict[str, Config], posts: int) -> Cost:
    """About how long it takes on two idle cores."""
    encoding = _START + posts * (config.reads_words * _TEXT + config.reads_picture * _PICTURE)
    return Cost({name: _member(one, posts) for name, one in members.items()}, encoding)


def fits_in_memory(config: Config, posts: int) -> bool:
    """Whether what a member is fitted to in one go may be in memory."""
    if config.declared_method.learner is None:
        return True
    width = config.ridge.points if config.declared_method.kernel else _width(config)
    return posts * min(width, posts) <= _MOST_NUMBERS


def _width(config: Config) -> int:
    return sum(_WIDTHS.get(name, 384) for name in config.inputs)


def _member(config: Config, posts: int) -> float:
    width = _width(config)
    if config.declared_method.kernel:
        points = min(posts, config.ridge.points)
        return _KERNEL * posts * points * (width + points)
    if config.declared_method.learner is not None:
        return _NUMBER * posts * width
    if config.trains_encoder:
        return 1.8 * _ENCODER * posts * config.training.epochs  # one fold, and all
    wide = 1 + (width > 2000)
    return 6 * _STEP * posts * config.training.epochs * wide


def affordable(config: Config, members: dict[str, Config], posts: int) -> tuple[str, ...]:
    """The members, in their order, that keep within memory and the effort's time.

    That time grows as the posts do. A member that does not fit is left out, those behind it stay.
    """
    effort = EFFORTS[config.ensemble.effort]
    allowed = effort.seconds * max(1.0, posts / MEASURED_POSTS)
    cost, kept = cost_of(config, members, posts), list[str]()
    spent = cost.encoding
    for name in members:
        fits = fits_in_memory(members[name], posts)
        if fits and spent + cost.seconds[name] <= allowed:
            spent += cost.seconds[name]
            kept.append(name)
    return tuple(kept)
