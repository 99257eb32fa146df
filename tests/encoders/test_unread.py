"""What of people's texts an encoder cannot read: shares and scripts, text by text."""

import subprocess
import sys
from pathlib import Path

import pytest

from postsense.config import EncoderSettings, TextEncoderSettings
from postsense.encoders.unread import Unread, unread_of
from postsense.posts import posts_of_texts


def unread(*texts: str | None, **settings: str) -> Unread:
    text = TextEncoderSettings.model_validate(settings)
    return unread_of(posts_of_texts(texts, "texts"), EncoderSettings(text=text))


@pytest.mark.parametrize(
    ("text", "scripts"),
    [
        ("สวัสดีครับ", {"Thai"}),
        ("안녕하세요 오늘", {"Hangul"}),
        ("ሰላም ዛሬ", {"Ethiopic"}),
        ("Привет, сегодня", {"Cyrillic"}),
        ("مرحبا، الطقس", {"Arabic"}),
        ("今日は天気がいい", {"Han", "Hiragana"}),
        ("你好，今天天气很好", {"Han"}),
        ("नमस्ते आज मौसम", {"Devanagari"}),
        ("שלום היום", {"Hebrew"}),
        ("ｶﾀｶﾅ カタカナ", {"Katakana"}),
    ],
)
def test_the_built_in_encoder_reads_no_word_of_other_scripts(text: str, scripts: set[str]) -> None:
    found = unread(text)
    assert (found.share, found.unread_texts, set(found.scripts)) == (1.0, 1, scripts)


@pytest.mark.parametrize(
    "text",
    ["Good morning!", "Schöne Grüße", "α = 5 → ½ 😂 𝐛𝐨𝐥𝐝", "thời tiết rất đẹp", "☕ № 5", "", "?!"],
)
def test_latin_letters_signs_and_emojis_are_read(text: str) -> None:
    assert (unread(text).unread, unread(text).unread_texts) == (0, 0)


def test_letters_of_mixed_texts_are_counted() -> None:
    found = unread("cat สวัสดี", "four five", "안녕", None)
    assert (found.letters, found.unread, found.texts, found.unread_texts) == (19, 8, 3, 1)
    assert found.scripts == {"Thai": 6, "Hangul": 2}


def test_signs_that_are_kept_unread_are_counted() -> None:
    assert unread("so 😂", unknown="keep").scripts == {"emojis and signs": 1}


def test_a_prefix_counts_as_no_letters() -> None:
    assert unread("안녕", prefix="query: ") == unread("안녕")


def test_an_encoder_that_has_words_of_a_script_reads_it(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    thai = "กขคงจฉชซญดตถทธนบปผฝพ"
    pieces = ["[UNK]", *thai, *(f"##{sign}" for sign in thai), *(a + b for a in thai for b in thai)]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert unread("กขค งจ", name=str(tmp_path)).unread == 0
    assert unread("กขค english", name=str(tmp_path)).scripts == {"Latin": 7}


def test_the_line_names_share_scripts_and_what_helps() -> None:
    line = unread("good day", "สวัสดีครับ").line()
    assert line.startswith("59% of the letters cannot be read by encoders.text 'builtin' (Thai)")
    assert "1 of 2 texts not at all" in line
    assert "encoders.text.name" in line and "encoders.allow_download=true" in line
    assert unread("good").line() == "encoders.text 'builtin' can read all letters of the texts"


def test_a_trace_asks_for_no_other_encoder() -> None:
    line = unread("word " * 100, "ж and").line()
    assert line == "0.25% of the letters cannot be read by encoders.text 'builtin' (Cyrillic)"


def test_looking_at_words_does_not_need_torch() -> None:
    code = (
        "import sys; from postsense.encoders.unread import unread_of;"
        "from postsense.config import EncoderSettings; from postsense.posts import posts_of_texts;"
        "assert unread_of(posts_of_texts(['สวัสดี'], 'x'), EncoderSettings()).share == 1;"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
