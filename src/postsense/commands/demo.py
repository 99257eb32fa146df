"""Posts with a known right answer → the command line's verbs on them, as a user would type them."""

import re
from collections.abc import Callable
from pathlib import Path

from postsense.commands.terminal import print_samples, say, say_title
from postsense.data.loading import load_posts
from postsense.data.synthetic import write_synthetic_posts
from postsense.errors import ConfigError
from postsense.files.locking import is_lock

PRESETS = ("text-only", "image-only", "concat")
_FILES = re.compile(r"posts|old_posts|runs|corpus|predictions(-cast)?\.jsonl(\.bad_rows\.jsonl)?")
_DRAWN = re.compile(r"images(/[0-9]{5}\.(jpg|png))?|\.posts\.jsonl\.\w{8}\.jsonl")
SMALL_BATCHES = ("--set", "training.batch_size=32")  # few posts need more steps an epoch


def show_demo(out: Path, posts: int, command: Callable[..., None]) -> None:
    """Draw posts, train the default and single models, measure, predict, then borrow comments.

    Args:
        out: folder of posts, runs, predictions and corpus; what is there already is kept.
        command: runs one command line, given its words.
    """
    _refuse_strangers(out)
    table = out / "posts" / "posts.jsonl"
    if not table.is_file():
        write_synthetic_posts(table.parent, posts=posts)
    run, predictions = out / "runs" / "default", out / "predictions.jsonl"
    say_title("the default: an ensemble of simple models")
    command("train", table, "--out", run)
    for preset in PRESETS:
        say_title(preset)
        alone = out / "runs" / preset
        command("train", table, "--out", alone, "--preset", preset, *SMALL_BATCHES)
    say("")
    command("compare", *(out / "runs" / preset for preset in PRESETS), run)
    command("evaluate", run, table, "--by", "truth.scene_visible")  # fog hides some pictures
    command("predict", run, table, "--out", predictions)
    print_samples(load_posts(table), predictions)
    _show_comments(out, table, posts, command)
    for name, place in {"posts": table, "run": run, "predictions": predictions}.items():
        say(f"{name:12s} {place}")


def _refuse_strangers(out: Path) -> None:
    """Refuse a folder with files that no demo has written. Raises: ConfigError."""
    items = list(out.iterdir()) if out.is_dir() else []
    strangers = [item.name for item in items if not (_FILES.fullmatch(item.name) or is_lock(item))]
    for folder in (out / "posts", out / "old_posts"):  # written into until posts.jsonl is there
        inside = list(folder.rglob("*")) if not (folder / "posts.jsonl").is_file() else []
        places = [item.relative_to(folder).as_posix() for item in inside]
        strangers += [f"{folder.name}/{place}" for place in places if not _DRAWN.fullmatch(place)]
    if strangers:
        fix = "Choose another --out."
        raise ConfigError(out, "a new folder, or one of a demo", f"{strangers[:5]} in it", fix)


def _show_comments(out: Path, table: Path, posts: int, command: Callable[..., None]) -> None:
    """A fifth of the labels, without and with what readers wrote under older posts."""
    old_posts, corpus = out / "old_posts" / "posts.jsonl", out / "corpus"
    say_title("corpus of older posts with comments")
    if not old_posts.is_file():
        write_synthetic_posts(old_posts.parent, posts=2 * posts, seed=1)
    command("corpus", "build", old_posts, "--out", corpus)
    few = ("--set", "data.train_fraction=0.2", *SMALL_BATCHES)
    alone, lent = out / "runs" / "few-labels", out / "runs" / "few-labels-cast"
    say_title(alone.name)
    command("train", table, "--out", alone, "--preset", "concat", *few)
    say_title(lent.name)
    method = ("--method", "self_training", "--corpus", corpus)
    command("train", table, "--out", lent, "--preset", "concat", *method, *few)
    command("compare", alone, lent)
    command("predict", lent, table, "--out", out / "predictions-cast.jsonl")
    print_samples(load_posts(table), out / "predictions-cast.jsonl")
