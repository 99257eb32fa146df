"""What the terminal shows: the numbers of the reports, names as they are, bars only for people."""

import json
from pathlib import Path

import pytest

from postsense.commands.terminal import (
    print_bad_rows,
    print_comparison,
    print_evaluation,
    print_samples,
    progress_bar,
    say,
    say_json,
    say_title,
)
from postsense.data.bad_rows import BadRow
from postsense.data.loading import load_posts

REPORT = {
    "split": "test",
    "posts": 4,
    "accuracy": 0.75,
    "macro_f1": 0.7333,
    "weighted_f1": 0.76666,
    "classes": ["no", "[/yes]"],
    "confusion": [[2, 1], [0, 1]],
    "per_class": {
        "no": {"precision": 1.0, "recall": 2 / 3, "f1": 0.8, "posts": 3},
        "[/yes]": {"precision": 0.5, "recall": 1.0, "f1": 2 / 3, "posts": 1},
    },
    "absent_classes": [],
    "bad_rows": 0,
}


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("│┃ ").replace("┃", "│").split("│")]


def test_an_evaluation_shows_every_number(capsys: pytest.CaptureFixture[str]) -> None:
    print_evaluation(REPORT, "run on posts.jsonl")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "run on posts.jsonl, split test, 4 posts"
    assert lines[1].split() == ["accuracy", "0.7500"]
    assert lines[3].split() == ["weighted", "F1", "0.7667"]
    rows = [cells(line) for line in lines]
    assert ["class", "precision", "recall", "F1", "posts", "→ no", "→ [/yes]"] in rows
    assert ["[/yes]", "0.5000", "1.0000", "0.6667", "1", "0", "1"] in rows


def test_an_evaluation_of_seeds_shows_their_spread(capsys: pytest.CaptureFixture[str]) -> None:
    spread = {"accuracy": 0.01, "macro_f1": 0.0234, "weighted_f1": 0.0}
    print_evaluation({**REPORT, "sd": spread, "bad_rows": 2}, "run")
    shown = capsys.readouterr().out
    assert "macro F1     0.7333 ± 0.0234" in shown
    assert "2 posts could not be read and are not counted" in shown


def test_an_evaluation_by_groups_shows_each_group(capsys: pytest.CaptureFixture[str]) -> None:
    spread = {"accuracy": 0.01, "macro_f1": 0.0234, "weighted_f1": 0.0}
    groups = [
        {**REPORT, "value": "[/a]", "sd": spread},
        {"value": "(missing)", "posts": 0, "bad_rows": 3},
    ]
    print_evaluation({**REPORT, "by": {"column": "topic", "groups": groups}}, "run")
    lines = capsys.readouterr().out.splitlines()
    rows = [cells(line) for line in lines]
    assert "by topic" in [line.strip() for line in lines]
    assert ["group", "posts", "accuracy", "macro F1", "weighted F1", "not read"] in rows
    metrics = ("0.7500 ± 0.0100", "0.7333 ± 0.0234", "0.7667 ± 0.0000")
    assert ["[/a]", "4", *metrics, "0"] in rows
    assert ["(missing)", "0", "-", "-", "-", "3"] in rows


@pytest.mark.parametrize("posts", [0, 1])
def test_a_group_that_lacks_a_class_comes_with_what_its_macro_f1_is(
    posts: int, capsys: pytest.CaptureFixture[str]
) -> None:
    per_class = {**REPORT["per_class"], "no": {**REPORT["per_class"]["no"], "posts": posts}}
    groups = [{**REPORT, "value": "a", "per_class": per_class}]
    print_evaluation({**REPORT, "by": {"column": "topic", "groups": groups}}, "run")
    shown = capsys.readouterr().out
    assert ("macro F1 is over the classes among" in shown) == (posts == 0)
    assert "not read" not in shown


def scores(mean: float, spread: float | None) -> dict[str, dict[str, float | None]]:
    return {name: {"mean": mean, "sd": spread} for name in ("accuracy", "macro_f1", "weighted_f1")}


def test_a_comparison_shows_scores_and_differences(capsys: pytest.CaptureFixture[str]) -> None:
    runs = [
        {"name": "runs/[a]", "seeds": [0, 1], **scores(0.5, 0.01)},
        {"name": "runs/b", "seeds": [0], **scores(0.75, None)},
    ]
    difference = {
        **{"name": "runs/b", "metric": "macro_f1", "difference": 0.25},
        **{"low": -0.1, "high": 0.5, "p_value": None},
    }
    known = {**difference, "p_value": 0.0123, "metric": "accuracy"}
    comparison = {"split": "val", "posts": 9, "runs": runs, "differences": [difference, known]}
    print_comparison(comparison)
    lines = capsys.readouterr().out.splitlines()
    rows = [cells(line) for line in lines]
    assert ["runs/[a]", "2", *["0.5000 ± 0.0100"] * 3] in rows
    assert ["runs/b", "1", "0.7500", "0.7500", "0.7500"] in rows
    assert ["runs/b", "macro F1", "+0.2500", "[-0.1000, +0.5000]", "-"] in rows
    assert ["runs/b", "accuracy", "+0.2500", "[-0.1000, +0.5000]", "0.0123"] in rows
    assert any("val, 9 posts" in line for line in lines)
    assert any("against runs/[a]" in line for line in lines)


def test_a_comparison_by_groups_names_each_group_once(capsys: pytest.CaptureFixture[str]) -> None:
    runs = [{"name": name, "seeds": [0], **scores(0.5, None)} for name in ("a", "b")]
    difference = {"name": "b", "difference": 0.25, "low": -0.1, "high": 0.5, "p_value": None}
    differences = [{**difference, "metric": metric} for metric in ("accuracy", "macro_f1")]
    part = {"posts": 9, "runs": runs, "differences": differences}
    groups = [{"value": value, **part} for value in ("x", "y")]
    print_comparison({"split": "test", **part, "by": {"column": "topic", "groups": groups}})
    lines = capsys.readouterr().out.splitlines()
    rows = [cells(line) for line in lines]
    assert {"test, 9 posts, by topic", "against a, by topic"} <= {line.strip() for line in lines}
    interval = ["+0.2500", "[-0.1000, +0.5000]", "-"]
    for value in ("x", "y"):
        assert rows.count([value, "9", "a", "1", *["0.5000"] * 3]) == 1
        assert rows.count([value, "b", "accuracy", *interval]) == 1
    assert rows.count(["b", "macro F1", *interval]) == 3  # of all posts, of x, of y


def test_a_comparison_of_one_run_has_no_differences(capsys: pytest.CaptureFixture[str]) -> None:
    runs = [{"name": "a", "seeds": [0], **scores(0.5, None)}]
    print_comparison({"split": "test", "posts": 9, "runs": runs, "differences": []})
    assert "against" not in capsys.readouterr().out


def test_bad_rows_are_counted_and_the_first_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    bad = [BadRow("a[b]", "x.png: no such file"), BadRow("c", "y")]
    print_bad_rows(bad, 100, Path("bad.jsonl"))
    assert capsys.readouterr().out == (
        "2 of 100 posts could not be used; all are listed in bad.jsonl. "
        "The first, 'a[b]': x.png: no such file\n"
    )
    print_bad_rows([], 100, Path("bad.jsonl"))
    assert capsys.readouterr().out == ""


def test_samples_show_true_and_predicted_labels_of_test_posts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    posts = load_posts(
        [
            {"id": "a", "text": "sun [/b]", "label": "yes", "split": "test"},
            {"id": "b", "text": "rain", "label": "no", "split": "train"},
        ]
    )
    row = {"id": "a", "label": "no", "prob_no": 0.625, "prob_yes": 0.375}
    (tmp_path / "out.jsonl").write_text(json.dumps(row) + "\n")
    print_samples(posts, tmp_path / "out.jsonl")
    shown = capsys.readouterr().out
    assert ["sun [/b]", "-", "yes", "no", "0.62"] in [cells(line) for line in shown.splitlines()]
    assert "rain" not in shown


HOSTILE, SHOWN = "[b]x[/b]\x1b[2J\x9b\u202e\r", r"[b]x[/b]\x1b[2J\x9b\u202e\r"


def test_cells_titles_and_lines_are_escaped_and_aligned(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = {**REPORT, "classes": ["no", HOSTILE]}
    report["per_class"] = {"no": REPORT["per_class"]["no"], HOSTILE: REPORT["per_class"]["[/yes]"]}
    groups = [{**REPORT, "value": HOSTILE}]
    print_evaluation({**report, "by": {"column": HOSTILE, "groups": groups}}, HOSTILE)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{SHOWN}, split test, 4 posts"
    assert [SHOWN, "0.5000", "1.0000", "0.6667", "1", "0", "1"] in [cells(line) for line in lines]
    assert f"by {SHOWN}" in [line.strip() for line in lines]
    table = [line for line in lines if line.startswith(("┃", "│"))][:3]
    assert len({len(line) for line in table}) == 1


def test_what_is_said_is_one_line_with_its_control_characters_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    say(f"{HOSTILE}\nforged")
    say_title(HOSTILE)
    say_json({"id": HOSTILE})
    said = capsys.readouterr().out
    assert said.startswith(f"{SHOWN}\\nforged\n\n[{SHOWN}]\n" + '{"id": "[b]x[/b]\\u001b[2J')
    assert json.loads(said.splitlines()[-1]) == {"id": HOSTILE}


def test_a_person_sees_colors_but_no_control_characters_of_posts(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with progress_bar() as progress:
        progress(HOSTILE, 3, 7)
    print_bad_rows([BadRow(HOSTILE, "x")], 1, Path("bad.jsonl"))
    captured = capsys.readouterr()
    assert "\x1b[2J" not in captured.err + captured.out
    assert SHOWN[:9] in captured.err and f"'{SHOWN}'" in captured.out


def test_a_pipe_gets_no_progress_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar() as progress:
        progress("encode", 1, 2)
        progress("encode", 2, 2)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_a_person_sees_a_bar_with_the_step_and_its_count(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with progress_bar() as progress:
        progress("encode pictures", 3, 7)
    captured = capsys.readouterr()
    assert "encode pictures" in captured.err
    assert "3/7" in captured.err
    assert captured.out == ""
