"""Made-up posts with a known right answer: neither the picture nor the words alone tell it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from postsense.data.scenes import THINGS_AT, WEATHERS, Scene, Weather, draw_scene
from postsense.errors import DataError
from postsense.files.atomic import replacing

Stance = Literal["outside", "inside", "report"]
_T = TypeVar("_T")

_MIN_POSTS = 30  # fewer may leave a split without one of the labels
_STANCES: tuple[Stance, ...] = (*("outside",) * 6, *("inside",) * 3, *("report",) * 2)
_CUE_SHARE = 0.12  # opinionated posts whose words give the answer away
_LABELS = {"sincere": "positive", "sarcastic": "negative", "factual": "neutral"}
_START = datetime(2024, 3, 1, 6, 30, tzinfo=UTC)

_OPENINGS = ("", "", "", "Well,", "So,", "Ok,", "Guys,", "@{name}", "Dear @{name},", "Monday:")
_TEXTS: dict[Stance, tuple[str, ...]] = {
    "outside": (
        "what a lovely day for our {event} at the {place}",
        "couldn't ask for better weather for the {event}",
        "we really picked the perfect day for a {event} in the open air",
        "best weather ever to walk around the {place} for hours",
        "spending all day outdoors at the {place}, just look at that sky",
        "exactly the weather I ordered for our {event} outside",
        "a whole afternoon out here at the {place}, look at this weather",
        "our {event} at the {place} is blessed with such a sky",
    ),
    "inside": (
        "so glad to sit at my desk in the {room} today, with this out of the window",
        "lucky me, I get to stay inside in the {room} all day long",
        "perfect day to stay indoors and {chore}",
        "great timing to be home on the couch and {chore}, see the window",
        "look what I am missing at the {place} while I {chore} at home",
        "so happy to be locked in the {room} instead of outside right now",
        "what a day to stay in bed and {chore}, view from my window",
        "behind the {room} window until tonight, and outside it looks like this",
    ),
    "report": (
        "photo {number} of {total} in my series about the {place}",
        "the {place} seen from {street} Street, archive picture",
        "bus line {number} stops at the {place} from next month",
        "the city council votes on the {place} plan on Tuesday",
        "for rent: two rooms near the {place}, {street} Street, ask for details",
        "new opening hours at the {place}: 9 am to {hour} pm",
        "map and history of the {place}, part {number}",
        "the {place} visitor center published its report for this year",
    ),
}
_CUES = {
    "sincere": ("Love it!", "So happy :)", "Feeling grateful", "This made my week"),
    "sarcastic": ("Ugh.", "Not.", "I want a refund", "Worst luck ever :("),
    "factual": ("Please share.", "More tomorrow.", "Details below.", "Source: city archive."),
}
_TAGS = ("weather", "today", "mood", "life", "weekend", "photo", "instadaily", "nofilter", "view")
_WORDS = {
    "name": ("annika_b", "tomrivers", "cityguide", "lena92", "mr_oak", "jo_and_co"),
    "event": ("picnic", "wedding", "hike", "barbecue", "garden party", "marathon", "boat tour"),
    "room": ("office", "library", "classroom", "waiting room", "lab", "kitchen"),
    "chore": ("file my taxes", "fold laundry", "watch movies", "study", "read", "answer emails"),
    "street": ("Mill", "Station", "Church", "Garden", "North"),
}
_LINKS: dict[tuple[Stance, Weather], tuple[str, ...]] = {
    ("outside", "fair"): (
        "that sunshine and you are out in it, enjoy!",
        "blue sky over the {place}, so happy for you",
        "sun all day and you deserve it, lovely",
    ),
    ("outside", "foul"): (
        "you must be soaked in that rain, poor you, sorry it got ruined",
        "nothing says fun like a thunderstorm at the {place}, awful luck",
        "dark clouds and pouring rain, I feel bad for you out there",
    ),
    ("inside", "fair"): (
        "all that sunshine and you are stuck inside, ouch, poor you",
        "blue sky out there and you miss it, that is just sad",
        "sunny at the {place} without you, sorry, such bad luck",
    ),
    ("inside", "foul"): (
        "it is pouring outside, good call, stay warm and cozy",
        "a thunderstorm out there and you are dry inside, lucky you",
        "rain all over the {place}, happy you can enjoy it from indoors",
    ),
    ("report", "fair"): ("the {place} on a sunny day, thanks for the info", "clear picture, noted"),
    ("report", "foul"): ("the {place} on a rainy day, thanks for the info", "wet there, noted"),
}
_NOISE = (
    *("nice", "thank you", "lol", "first", "cool", "wow", "same", "haha", "😂", "👍"),
    *("following you now", "who took this?", "tell me more", "check your messages"),
    *("which phone is that?", "see you friday", "hello from Oslo"),
)


@dataclass(frozen=True)
class SyntheticOptions:
    """How hard the posts are.

    picture_noise: share of pictures in which fog hides the weather.
    informative_comments: share of posts where a reader says what links picture and words.
    missing_fraction: share of posts that lack the text or, as often, the picture.
    """

    picture_noise: float = 0.1
    informative_comments: float = 0.7
    missing_fraction: float = 0.0


@dataclass(frozen=True)
class _Truth:
    scene: Scene
    stance: Stance
    attitude: str
    has_cue: bool
    has_link: bool


def write_synthetic_posts(
    folder: Path, posts: int = 600, seed: int = 0, options: SyntheticOptions | None = None
) -> Path:
    """Write posts.jsonl and images/ under folder; same arguments, same bytes.

    Source: ours; the label is an exclusive or, as in sarcasm by incongruity. People outside under a
    blue sky, or indoors while it storms, mean what they say (positive); the other way round they
    are sarcastic (negative); reports are neutral. The field `truth` records what was drawn.

    Args:
        posts: 30 at least; split 60/20/20 into train, val and test within each label.
    Returns: path of posts.jsonl, which is written last and whole.
    Raises: DataError: too few posts, or a share outside [0, 1].
    """
    options = options or SyntheticOptions()
    _check(posts, options)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rows = [_write_post(folder, number, seed, options) for number in range(posts)]
    for row, split in zip(rows, _split([row["label"] for row in rows], seed), strict=True):
        row["split"] = split
    with (
        replacing(folder / "posts.jsonl") as temporary,
        temporary.open("w", encoding="utf-8", newline="\n") as file,
    ):
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return folder / "posts.jsonl"


def _check(posts: int, options: SyntheticOptions) -> None:
    if posts < _MIN_POSTS:
        raise DataError("posts", f"at least {_MIN_POSTS}", str(posts), "Ask for more posts.")
    for name, share in asdict(options).items():
        if not 0 <= share <= 1:
            raise DataError(name, "a share in [0, 1]", str(share), "Give a fraction of the posts.")


def _write_post(folder: Path, number: int, seed: int, options: SyntheticOptions) -> dict[str, Any]:
    rng = np.random.default_rng((seed, number))
    stance = _STANCES[7 * number % len(_STANCES)]  # by quota, so that small sets have all labels
    truth = _draw_truth(stance, rng, options)
    text: str | None = _write_text(truth, rng)
    image: str | None = f"images/{number:05d}.{_pick(rng, ('jpg', 'jpg', 'jpg', 'png'))}"
    comments = _write_comments(truth, rng)
    picture = draw_scene(truth.scene, rng)
    if rng.random() < options.missing_fraction:
        text, image = (None, image) if rng.random() < 0.5 else (text, None)
    if image is not None:
        picture.save(folder / image, quality=90)
    minutes = 137 * number + int(rng.integers(137))
    return {
        "id": f"synthetic-{seed}/{number:05d}",
        "text": text,
        "image": image,
        "label": _LABELS[truth.attitude],
        "split": None,
        "comments": comments,
        "created_at": (_START + timedelta(minutes=minutes)).isoformat(),
        "truth": _record(truth),
    }


def _draw_truth(stance: Stance, rng: np.random.Generator, options: SyntheticOptions) -> _Truth:
    place = _pick(rng, tuple(THINGS_AT))
    is_visible = bool(rng.random() >= options.picture_noise)
    scene = Scene(_pick(rng, WEATHERS), place, _pick(rng, THINGS_AT[place]), is_visible)
    has_cue = bool(rng.random() < _CUE_SHARE)
    has_link = bool(rng.random() < options.informative_comments)
    return _Truth(scene, stance, _attitude(stance, scene.weather), has_cue, has_link)


def _attitude(stance: Stance, weather: Weather) -> str:
    if stance == "report":
        return "factual"
    return "sincere" if (stance == "outside") == (weather == "fair") else "sarcastic"


def _write_text(truth: _Truth, rng: np.random.Generator) -> str:
    opening = "" if truth.stance == "report" else _pick(rng, _OPENINGS)
    body = _fill(f"{opening} {_pick(rng, _TEXTS[truth.stance])}", truth, rng).strip()
    parts = [body[0].upper() + body[1:] + _pick(rng, ("", ".", "!", "..."))]
    if truth.has_cue:
        parts.append(_pick(rng, _CUES[truth.attitude]))
    tags = (*_TAGS, truth.scene.place)
    parts += [f"#{tags[tag]}" for tag in rng.permutation(len(tags))[: rng.integers(4)]]
    if rng.random() < 0.3:
        parts.append("https://t.co/" + "".join(_pick(rng, "abcdefghkmXYZ2345") for _ in range(8)))
    return " ".join(parts)


def _write_comments(truth: _Truth, rng: np.random.Generator) -> list[str]:
    comments = [_pick(rng, _NOISE) for _ in range(rng.integers(4))]
    if truth.has_link:
        links = _LINKS[truth.stance, truth.scene.weather]
        chosen = rng.permutation(len(links))[: rng.integers(1, 3)]
        comments += [_fill(links[link], truth, rng) for link in chosen]
    return [comments[comment] for comment in rng.permutation(len(comments))]


def _fill(template: str, truth: _Truth, rng: np.random.Generator) -> str:
    words = {kind: _pick(rng, choices) for kind, choices in _WORDS.items()}
    numbers = {
        "number": rng.integers(2, 40),
        "total": rng.integers(40, 99),
        "hour": rng.integers(4, 9),
    }
    return template.format(place=truth.scene.place, **words, **numbers)


def _record(truth: _Truth) -> dict[str, Any]:
    scene = truth.scene
    return {
        "scene": scene.weather,
        "place": scene.place,
        "thing": scene.thing,
        "scene_visible": scene.is_visible,
        "stance": truth.stance,
        "attitude": truth.attitude,
        "text_cue": truth.has_cue,
        "comment_link": truth.has_link,
    }


def _split(labels: Sequence[str], seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    splits = np.full(len(labels), "train", dtype=object)
    for label in sorted(set(labels)):
        rows = rng.permutation(np.flatnonzero(np.asarray(labels) == label))
        first, second = round(0.6 * len(rows)), round(0.8 * len(rows))
        splits[rows[first:second]], splits[rows[second:]] = "val", "test"
    return [str(split) for split in splits]


def _pick(rng: np.random.Generator, choices: Sequence[_T]) -> _T:
    return choices[int(rng.integers(len(choices)))]
