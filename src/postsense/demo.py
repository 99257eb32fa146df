"""Posts with a known right answer → the command line's verbs on them, as a user would type them."""

from collections.abc import Callable
from pathlib import Path

import typer

from postsense.data.loading import load_posts
from postsense.data.synthetic import write_synthetic_posts
from postsense.terminal import print_samples

PRESETS = ("text-only", "image-only", "concat")
SMALL_BATCHES = ("--set", "training.batch_size=32")  # few posts need more steps an epoch


def show_demo(out: Path, posts: int, command: Callable[..., None]) -> None:
    """Draw posts, train on words, pictures and both, measure, predict, then borrow comments.

    Args:
        out: folder of posts, runs, predictions and corpus; what is there already is kept.
        command: runs one command line, given its words.
    """
    table = out / "posts" / "posts.jsonl"
    if not table.is_file():
        write_synthetic_posts(table.parent, posts=posts)
    for preset in PRESETS:
        typer.echo(f"\n[{preset}]")
        run = out / "runs" / preset
        command("train", table, "--out", run, "--preset", preset, *SMALL_BATCHES)
    run, predictions = out / "runs" / "concat", out / "predictions.jsonl"
    typer.echo("")
    command("compare", *(out / "runs" / preset for preset in PRESETS))
    command("evaluate", run, table, "--by", "truth.scene_visible")  # fog hides some pictures
    command("predict", run, table, "--out", predictions)
    print_samples(load_posts(table), predictions)
    _show_comments(out, table, posts, command)
    for name, place in {"posts": table, "run": run, "predictions": predictions}.items():
        typer.echo(f"{name:12s} {place}")


def _show_comments(out: Path, table: Path, posts: int, command: Callable[..., None]) -> None:
    """A fifth of the labels, without and with what readers wrote under older posts."""
    old_posts, corpus = out / "old_posts" / "posts.jsonl", out / "corpus"
    typer.echo("\n[corpus of older posts with comments]")
    if not old_posts.is_file():
        write_synthetic_posts(old_posts.parent, posts=2 * posts, seed=1)
    command("corpus", "build", old_posts, "--out", corpus)
    few = ("--set", "data.train_fraction=0.2", *SMALL_BATCHES)
    alone, lent = out / "runs" / "few-labels", out / "runs" / "few-labels-cast"
    typer.echo(f"\n[{alone.name}]")
    command("train", table, "--out", alone, "--preset", "concat", *few)
    typer.echo(f"\n[{lent.name}]")
    method = ("--method", "self_training", "--corpus", corpus)
    command("train", table, "--out", lent, "--preset", "concat", *method, *few)
    command("compare", alone, lent)
    command("predict", lent, table, "--out", out / "predictions-cast.jsonl")
    print_samples(load_posts(table), out / "predictions-cast.jsonl")
