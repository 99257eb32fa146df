"""The MVSA-Single table of the README: our models beside a regression on the same features.

Usage: python benchmarks/mvsa.py FOLDER_WITH_posts.jsonl [RUNS_FOLDER]
Trains text only, image only, concat and cross-attention with five seeds on both splits and prints
Markdown. The regression is scikit-learn's LogisticRegression on standardised features, C chosen by
accuracy on val. `cross-validation` repeats both on ten random folds of all posts that are not test
posts of the grouped split, since 450 test posts leave a standard error of two points.
"""

import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from postsense.config import Config
from postsense.config.loading import load_config
from postsense.data.loading import load_posts
from postsense.data.splitting import Splits, split_posts
from postsense.inputs.preparation import PreparedPosts, prepare_posts
from postsense.prediction.classifier import predict_rows
from postsense.runs.comparison import compare_run_folders
from postsense.runs.training import train_run
from postsense.training.fitting import fit_classifier

SEEDS = 5
PENALTIES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
MODELS = {"text-only": "text", "image-only": "image", "concat": "both", "cross-attention": "both"}
METRICS = ("accuracy", "weighted_f1", "macro_f1")
HEADER = "| split | model | accuracy | weighted F1 | macro F1 |\n|---|---|---|---|---|"


def regression(splits: Splits, prepared: PreparedPosts, part: str) -> tuple[float, ...]:
    """Test accuracy, weighted and macro F1 of the regression on text, image or both features."""
    everything = np.arange(len(splits.posts))
    columns = dict(prepared.columns.read)
    chosen = [columns[name] for name in (("text", "image") if part == "both" else (part,))]
    x = np.hstack([column.batch(everything).pooled.numpy() for column in chosen])
    y = np.array(splits.posts.column("label"))
    fits = [
        make_pipeline(StandardScaler(), LogisticRegression(C=penalty, max_iter=3000)).fit(
            x[splits.train], y[splits.train]
        )
        for penalty in PENALTIES
    ]
    best = max(fits, key=lambda fit: fit.score(x[splits.val], y[splits.val]))
    return scores(y[splits.test], best.predict(x[splits.test]))


def scores(labels: np.ndarray, predicted: np.ndarray) -> tuple[float, ...]:
    """Accuracy, weighted F1 and macro F1."""
    f1 = [f1_score(labels, predicted, average=average) for average in ("weighted", "macro")]
    return (float(accuracy_score(labels, predicted)), *map(float, f1))


def folds(splits: Splits, repeats: int = 2) -> list[Splits]:
    """Random fifths of the posts that are not test posts, in turn test and val."""
    labels = np.array(splits.posts.column("label"))
    pool = np.setdiff1d(np.arange(len(labels)), splits.test)
    made = []
    for repeat in range(repeats):
        parts = StratifiedKFold(5, shuffle=True, random_state=repeat).split(pool, labels[pool])
        fifths = [pool[rows] for _, rows in parts]
        for number, test in enumerate(fifths):
            val = fifths[(number + 1) % 5][:400]
            train = np.setdiff1d(pool, np.concatenate([test, val]))
            made.append(
                Splits(splits.posts, train, val, test, splits.classes, carved=False, unlabeled=0)
            )
    return made


def cross_validate(splits: Splits, prepared: PreparedPosts, config: Config) -> None:
    """Print both sides on the folds, and the mean difference with its standard error."""
    labels = np.array(splits.posts.column("label"))
    ours, theirs = [], []
    for fold in folds(splits):
        with tempfile.TemporaryDirectory() as folder:
            fitted = fit_classifier(fold, prepared, config, Path(folder))
        logits = predict_rows(fitted.classifier, prepared, fold.test).logits
        predicted = np.array(fold.classes)[logits.argmax(axis=1)]
        ours.append(scores(labels[fold.test], predicted))
        theirs.append(regression(fold, prepared, "both"))
    print_row("cross-validation", "regression, both", np.array(theirs))
    print_row("cross-validation", "concat", np.array(ours))
    gain = np.array(ours) - np.array(theirs)
    error = gain.std(axis=0, ddof=1) / np.sqrt(len(gain))
    cells = [
        f"{mean:+.4f} ± {se:.4f} (se)" for mean, se in zip(gain.mean(axis=0), error, strict=True)
    ]
    print(f"| cross-validation | concat - regression | {' | '.join(cells)} |")


def print_row(split: str, name: str, values: np.ndarray) -> None:
    """A row of the table: mean ± sd over the rows of values, (runs, 3)."""
    spread = values.std(axis=0, ddof=1) if len(values) > 1 else None
    cells = [
        f"{mean:.4f}" + (f" ± {spread[i]:.4f}" if spread is not None else "")
        for i, mean in enumerate(values.mean(axis=0))
    ]
    print(f"| {split} | {name} | {' | '.join(cells)} |", flush=True)


def main(folder: str, out: str) -> None:
    """Train everything and print the table."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    table = Path(folder) / "posts.jsonl"
    print(HEADER)
    for split in ("clmlf", "grouped"):
        base = load_config("concat", values={"data.columns.split": f"splits.{split}"})
        posts = load_posts(table, base.data.columns)
        splits = split_posts(posts, None, validation_fraction=0.1, seed=0)
        prepared = prepare_posts(splits.posts, base)
        for part in ("text", "image", "both"):
            print_row(split, f"regression, {part}", np.array([regression(splits, prepared, part)]))
        for preset in MODELS:
            config = load_config(preset, values={"data.columns.split": f"splits.{split}"})
            run = Path(out) / f"{split}-{preset}"
            train_run(posts, config, run, seeds=SEEDS)
            summary = compare_run_folders([run])["runs"][0]
            cells = [f"{summary[m]['mean']:.4f} ± {summary[m]['sd']:.4f}" for m in METRICS]
            print(f"| {split} | {preset} | {' | '.join(cells)} |", flush=True)
        if split == "grouped":
            cross_validate(splits, prepared, base)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else tempfile.mkdtemp())
