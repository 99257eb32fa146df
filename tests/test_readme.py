"""The README and the pages of docs/ show commands, presets and settings that exist."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from postsense.commands.main import app
from postsense.config.loading import (
    load_config,
    merged_settings,
    parse_kept,
    preset_names,
    refuse_unknown_settings,
)

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MODELS = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
FILES = sorted((ROOT / "docs").rglob("*.md"))
PAGES = "".join(file.read_text(encoding="utf-8") for file in FILES)
BLOCK = re.compile(r"^```(?:console|sh|shell|bash)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[list[str]]:
    """The words of each `postsense` command in shell blocks, without prompts and comments."""
    found = []
    for block in BLOCK.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.strip().removeprefix("$ "), comments=True)
            if words and words[0] == "postsense":
                found.append(words[1:])
    return found


def values_of(option: str, words: list[str]) -> list[str]:
    spaced = [words[place + 1] for place, word in enumerate(words) if word == option]
    return spaced + [word.split("=", 1)[1] for word in words if word.startswith(f"{option}=")]


def test_commands_are_found_with_prompts_comments_and_continuations() -> None:
    text = "```console\n$ postsense train a.csv \\\n    --out 'my run'  # once\n12 posts\n```\n"
    other = "```sh\nmake demo\npostsense check a.csv\n```\n```python\npostsense x\n```\n"
    assert commands(text + other) == [["train", "a.csv", "--out", "my run"], ["check", "a.csv"]]


def test_the_readme_shows_every_step_from_table_to_predictions() -> None:
    assert {"check", "train", "evaluate", "predict", "compare"} <= {c[0] for c in commands(README)}


def parse(words: list[str]) -> None:
    """Raises for verbs and options that do not exist."""
    verb, rest = typer.main.get_command(app), list(words)
    while hasattr(verb, "get_command"):  # a group of verbs, such as `corpus`
        found = verb.get_command(typer.Context(verb), rest[0])
        assert found is not None, f"no verb '{rest[0]}'"
        verb, rest = found, rest[1:]
    if "--help" not in words:
        verb.make_context(words[0], rest)


def load_settings(words: list[str]) -> None:
    """Raises for presets and settings that do not exist."""
    options = {"--method": "method", "--corpus": "retrieval.corpus"}
    values = {key: value for name, key in options.items() for value in values_of(name, words)}
    for preset in values_of("--preset", words) or [None]:
        overrides = values_of("--set", words)
        load_config(preset, overrides=overrides, values=values, default_method="ensemble")


@pytest.mark.parametrize("read", [parse, load_settings])
def test_every_command_that_is_shown_could_be_given(read: Callable[[list[str]], None]) -> None:
    refused = []
    for words in commands(README + PAGES):
        try:
            read(words)
        except Exception as error:  # whatever is wrong with it, the rest is looked at too
            refused.append(f"postsense {' '.join(words)}: {error}")
    assert not refused, "\n".join(refused)


def test_the_page_on_models_names_every_preset_and_no_other() -> None:
    named = MODELS.partition("| presets | page |")[2]
    assert sorted(re.findall(r"`([\w-]+)`", named)) == preset_names()


def test_settings_in_the_text_exist() -> None:
    for key, value in re.findall(r"`--set (\w+\.[\w.]+)=(\S+?)`", README + PAGES):
        if value != "..." and not key.startswith("section."):  # placeholders
            refuse_unknown_settings([key])
            parse_kept(merged_settings(overrides=[f"{key}={value}"]))


def test_files_that_a_page_links_to_exist() -> None:
    links = [
        (file, link)
        for file in (ROOT / "README.md", *FILES)
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", file.read_text(encoding="utf-8"))
        if "://" not in link
    ]
    assert links
    missing = [f"{file}: {link}" for file, link in links if not (file.parent / link).exists()]
    assert not missing, "\n".join(missing)
