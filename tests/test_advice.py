"""What a message advises is done, word for word where it can be, and then the command works."""

import json
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

Rows = list[dict[str, Any]]
Words = list[object]
QUICK = ("--preset", "text-only", "--set", "training.epochs=1", "--set", "training.device=cpu")


@dataclass(frozen=True)
class Here:
    """Folders and tables of a test. rows: the 45 posts, without pictures."""

    folder: Path
    run: Path
    table: Path
    rows: Rows
    bert: Path

    def write(self, name: str, rows: Sequence[dict[str, Any]]) -> Path:
        (self.folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        return self.folder / name

    def renamed(self, **names: str) -> Path:
        """A table with other names of columns."""
        rows = [{names.get(key, key): value for key, value in row.items()} for row in self.rows]
        return self.write("renamed.jsonl", rows)

    def train(self, table: Path, *more: object) -> Words:
        return ["train", table, "--out", self.folder / "run", *QUICK, *more]

    def over_bert(self, *more: object) -> Words:
        named = ("--set", f"encoders.text.name={self.bert}")
        short = ("--set", "encoders.text.max_length=32")
        return self.train(self.write("t.jsonl", self.rows), *named, *short, *more)

    def predict(self, table: Path, *more: object) -> Words:
        return ["predict", self.run, table, "--out", self.folder / "out.csv", *more]


@pytest.fixture
def here(
    tmp_path: Path, trained_run: Path, posts_file: Path, post_rows: Rows, tiny_bert: Path
) -> Here:
    rows = [{key: value for key, value in row.items() if key != "image"} for row in post_rows]
    run = shutil.copytree(trained_run, tmp_path / "trained")
    return Here(tmp_path, Path(run), posts_file, rows, tiny_bert)


def set_as_told(words: Words, message: str) -> Words:
    """Add each `key=value` of the advice as a --set."""
    advice = message.rpartition("Set ")[2] if "Set " in message else message
    found = re.findall(r"[a-z_]+(?:\.[a-z_]+)+=[A-Za-z0-9_/.-]*[A-Za-z0-9]", advice)
    assert found, message
    return [*words, *(word for setting in found for word in ("--set", setting))]


def adding(*more: object) -> Callable[[Words, str], Words]:
    return lambda words, message: [*words, *more]


def changing(old: object, new: object) -> Callable[[Words, str], Words]:
    """Give one word of the command otherwise."""

    def change(words: Words, message: str) -> Words:
        assert old in words
        return [new if word == old else word for word in words]

    return change


def dropping(*options: object) -> Callable[[Words, str], Words]:
    """Leave an option and its value out."""

    def drop(words: Words, message: str) -> Words:
        place = words.index(options[0])
        return [*words[:place], *words[place + len(options) :]]

    return drop


def with_out(name: str) -> Callable[[Words, str], Words]:
    def change(words: Words, message: str) -> Words:
        place = words.index("--out") + 1
        out = Path(str(words[place]))
        return [*words[:place], out.with_name(name), *words[place + 1 :]]

    return change


def removing(pattern: str) -> Callable[[Words, str], Words]:
    """Remove the file or folder that the message begins with, then give the command again."""

    def remove(words: Words, message: str) -> Words:
        match = re.match(rf"error: ({pattern})", message)
        assert match, message
        path = Path(match[1])
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        return words

    return remove


@dataclass(frozen=True)
class Case:
    """A command that fails, what its message advises, and how that is followed."""

    command: Callable[[Here], Words]
    advice: str
    follow: Callable[[Words, str], Words]


def evaluated(here: Here, table: Path, *more: object) -> Words:
    return ["evaluate", here.run, table, *more]


def moved(here: Here) -> Words:
    """A model over an encoder that is no longer where it was."""
    bert = shutil.copytree(here.bert, here.folder / "bert")
    from postsense import PostClassifier

    settings = {"fusion.name": "text_only", "encoders.text.name": str(bert)}
    quick = {"training.epochs": 1, "training.device": "cpu", "encoders.text.max_length": 32}
    PostClassifier(**settings, **quick).fit(here.rows).save(here.folder / "model")
    shutil.move(bert, here.folder / "moved")
    table = here.write("t.jsonl", here.rows)
    return ["predict", here.folder / "model", table, "--out", here.folder / "out.csv"]


def to_the_moved(words: Words, message: str) -> Words:
    match = re.search(r"--set encoders\.text\.name=FOLDER", message)
    assert match
    folder = Path(str(words[1])).with_name("moved")
    return [*words, "--set", match[0].removeprefix("--set ").replace("FOLDER", str(folder))]


def damaged_metrics(here: Here) -> Words:
    (here.run / "seed-0" / "metrics.json").write_text('{"seed": 0, "best_epoch": 1, "val": {}}')
    settings = ("training.epochs=8", "training.learning_rate=0.01", "training.device=cpu")
    words = [word for setting in settings for word in ("--set", setting)]
    return ["train", here.table, "--out", here.run, "--preset", "concat", *words, "--seeds", 2]


def settings_of_another(here: Here) -> Words:
    settings = ("training.epochs=1", "training.device=cpu")
    words = [word for setting in settings for word in ("--set", setting)]
    return ["train", here.table, "--out", here.run, "--preset", "concat", *words]


def bad_list(here: Here) -> Words:
    (here.folder / "out.csv.bad_rows.jsonl").write_text("mine\n")
    return here.predict(here.table)


SETTING = ("--set", "data.columns.text=tweet")
CASES = {
    "a table with words under another name, in predict": Case(
        lambda here: here.predict(here.renamed(text="tweet")),
        "Name yours with data.columns.text and data.columns.image",
        adding(*SETTING),
    ),
    "the same in evaluate": Case(
        lambda here: evaluated(here, here.renamed(text="tweet")),
        "Name yours with data.columns.text",
        adding(*SETTING),
    ),
    "the same in check": Case(
        lambda here: ["check", here.renamed(text="tweet")],
        "Name yours with data.columns.text",
        adding(*SETTING),
    ),
    "the same in train": Case(
        lambda here: here.train(here.renamed(text="tweet")),
        "Name yours with data.columns.text",
        adding(*SETTING),
    ),
    "the same in combine": Case(
        lambda here: [
            *("combine", here.run, here.run, here.renamed(text="tweet")),
            *("--out", here.folder / "out.csv"),
        ],
        "Name yours with data.columns.text",
        adding(*SETTING),
    ),
    "a column that is not there, in predict": Case(
        lambda here: here.predict(here.table, "--set", "data.columns.text=txt"),
        "Did you mean 'text'.* data.columns.text names the column to use",
        changing("data.columns.text=txt", "data.columns.text=text"),
    ),
    "ids under another name, in compare": Case(
        lambda here: [
            *("compare", here.run, "--by", "label", "--table", here.renamed(id="number")),
            *("--set", "data.columns.id=nummer"),
        ],
        "Did you mean 'number'.* data.columns.id names the column to use",
        changing("data.columns.id=nummer", "data.columns.id=number"),
    ),
    "labels under another name, in evaluate": Case(
        lambda here: evaluated(here, here.renamed(label="truth")),
        "data.columns.label names the column to use",
        adding("--set", "data.columns.label=truth"),
    ),
    "labels under another name, in train": Case(
        lambda here: here.train(here.renamed(label="truth")),
        "data.columns.label names the column to use",
        adding("--set", "data.columns.label=truth"),
    ),
    "labels that were not trained": Case(
        lambda here: evaluated(
            here,
            here.write("t.jsonl", [{**row, "label": "x", "y": row["label"]} for row in here.rows]),
        ),
        "Name the label column with --label",
        adding("--label", "y"),
    ),
    "a split that is not there": Case(
        lambda here: evaluated(here, here.table, "--split", "dev"),
        "the splits are .*'val'.* Choose another --split",
        changing("dev", "val"),
    ),
    "a setting that is misspelt, in predict": Case(
        lambda here: here.predict(here.table, "--set", "encoders.thread=1"),
        "Did you mean 'encoders.threads'",
        changing("encoders.thread=1", "encoders.threads=1"),
    ),
    "a setting that made the model": Case(
        lambda here: here.predict(here.table, "--set", "fusion.hidden=8"),
        "Leave it out, or train again",
        dropping("--set", "fusion.hidden=8"),
    ),
    "a setting that is misspelt, in train": Case(
        lambda here: here.train(here.write("t.jsonl", here.rows), "--set", "trainin.seed=1"),
        "unknown 'trainin' .*Did you mean 'training'",
        changing("trainin.seed=1", "training.patience=1"),
    ),
    "a preset that is misspelt": Case(
        lambda here: [
            *("train", here.write("t.jsonl", here.rows), "--out", here.folder / "run"),
            *("--preset", "textonly", "--set", "training.epochs=1"),
        ],
        "Did you mean 'text-only'",
        changing("textonly", "text-only"),
    ),
    "predictions onto the table": Case(
        lambda here: ["predict", here.run, here.table, "--out", here.table],
        "Choose another --out",
        lambda words, message: [*words[:-1], Path(str(words[1])).with_name("out.csv")],
    ),
    "a list of bad rows that is none": Case(
        bad_list, "Choose another --out", with_out("other.csv")
    ),
    "a format that is not written": Case(
        lambda here: ["predict", here.run, here.table, "--out", here.folder / "out.txt"],
        "a name that ends in one of .*'.csv'",
        with_out("out.csv"),
    ),
    "an encoder that moved": Case(moved, "Name its folder with --set encoders", to_the_moved),
    "a column without its table": Case(
        lambda here: ["compare", here.run, "--by", "label"],
        "Give both --by and --table",
        lambda words, message: [*words, "--table", Path(str(words[1])).with_name("t.jsonl")],
    ),
    "predictions of another split": Case(
        lambda here: ["compare", here.run, "--split", "dev"],
        r"found only \['test', 'val'\]. Set --split",
        changing("dev", "val"),
    ),
    "a run of other settings": Case(
        settings_of_another, "Choose another --out, or the same settings", with_out("fresh")
    ),
    "a folder with other files": Case(
        lambda here: [*here.train(here.write("t.jsonl", here.rows)), "--out", here.folder],
        "Choose another --out",
        lambda words, message: words[:-2],
    ),
    "metrics that are damaged": Case(
        damaged_metrics, "Remove the file", removing(r"\S+metrics\.json")
    ),
    "texts that are too long for the encoder": Case(
        lambda here: here.over_bert("--set", "encoders.text.max_length=99"),
        "Set encoders.text.max_length=64",
        set_as_told,
    ),
    "more frozen layers than there are": Case(
        lambda here: here.over_bert(
            *("--set", "encoders.text.trainable=true", "--set", "encoders.text.frozen_layers=9")
        ),
        "Set encoders.text.frozen_layers=2 or less",
        set_as_told,
    ),
    "a class token that there is not": Case(
        lambda here: [
            *("train", here.table, "--out", here.folder / "run", "--preset", "image-only"),
            *("--set", "training.epochs=1", "--set", "encoders.image.pooling=cls"),
        ],
        "Set it to 'mean'",
        changing("encoders.image.pooling=cls", "encoders.image.pooling=mean"),
    ),
    "an encoder that reads no words": Case(
        lambda here: here.train(
            here.write("t.jsonl", here.rows), "--set", "encoders.text.name=org/none"
        ),
        "allow the download with --set encoders.allow_download=true",
        set_as_told,
    ),
    "one class alone": Case(
        lambda here: here.train(
            here.write("t.jsonl", [{**row, "a": "x", "y": row["label"]} for row in here.rows]),
            *("--label", "a"),
        ),
        "choose another --label column",
        changing("a", "y"),
    ),
    "self-training without a corpus": Case(
        lambda here: here.train(here.write("t.jsonl", here.rows), "--method", "self_training"),
        "Name one with --corpus; build it with 'postsense corpus build TABLE --out CORPUS'",
        dropping("--method", "self_training"),
    ),
    "a start from nothing": Case(
        lambda here: here.train(
            here.write("t.jsonl", here.rows), "--set", f"training.start_from={here.folder}"
        ),
        "Set training.start_from to one",
        lambda words, message: [
            *words[:-1],
            str(words[-1]) + "/trained",
        ],
    ),
    "validation posts twice": Case(
        lambda here: here.train(
            here.write("t.jsonl", here.rows), "--validation", here.write("v.jsonl", here.rows)
        ),
        "Leave out --validation",
        lambda words, message: words[:-2],
    ),
    "ids that repeat": Case(
        lambda here: here.predict(
            here.write("t.jsonl", [{**row, "id": "x", "n": n} for n, row in enumerate(here.rows)])
        ),
        "give them ids of their own",
        adding("--set", "data.columns.id=n"),
    ),
    "a folder of tables": Case(
        lambda here: here.predict(here.write("t.jsonl", here.rows).parent),
        "Pass the table itself: '",
        lambda words, message: [
            *words[:2],
            re.findall(r"Pass the table itself: '([^']+)'", message)[0],
            *words[3:],
        ],
    ),
    "a name of a group": Case(
        lambda here: [
            *("discover", here.table, "--out", here.folder / "groups", "--clusters", 2),
            *("--set", "training.epochs=1", "--name", "food"),
        ],
        "Write for example --name 1=food",
        changing("food", "1=food"),
    ),
    "joint labels that have no name": Case(
        lambda here: [
            *("relabel", here.write("p.jsonl", [{"a": 0, "b": 0, "label": "x", "text": "w"}])),
            *(_corrections(here), "--out", here.folder / "new.jsonl"),
            *("--text-label", "a", "--image-label", "b"),
        ],
        "give --joint '' to leave it as it is",
        adding("--joint", ""),
    ),
    "nothing to look for": Case(
        lambda here: ["corpus", "search", here.folder],
        "Give a TEXT, an --image, or both",
        adding("rain"),
    ),
}
NEXT = {  # the next thing that is wrong, where the advice cannot be followed to its end here
    "an encoder that reads no words": "Check the name, and that the hub is reached",
    "nothing to look for": "expected a corpus, found no corpus.json in it",
}


def _corrections(here: Here) -> Path:
    (here.folder / "changes.txt").write_text("00->11: 0\n")
    return here.folder / "changes.txt"


@pytest.mark.parametrize("name", CASES)
def test_what_a_message_advises_works(postsense: Any, here: Here, name: str) -> None:
    case = CASES[name]
    here.write("t.jsonl", here.rows)
    words = case.command(here)
    outcome = postsense(*words)
    assert (outcome.code, outcome.err.count("\n")) == (2, 1), outcome
    assert re.search(case.advice, outcome.err), outcome.err
    followed = postsense(*case.follow(words, outcome.err))
    if name in NEXT:
        assert NEXT[name] in followed.err
    else:
        assert (followed.code, followed.err) == (0, ""), followed
