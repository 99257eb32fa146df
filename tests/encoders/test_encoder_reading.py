"""What a tokenizer is given: signs that its vocabulary lacks by name, all else as it was."""

from collections.abc import Callable
from pathlib import Path

import pytest

from postsense.config import EncoderSettings, TextEncoderSettings
from postsense.encoders.reading import TextReader
from postsense.encoders.vocabulary import Vocabulary, VocabularyFile, open_vocabulary

Read = Callable[[str], str]


@pytest.fixture(scope="module")
def builtin() -> Vocabulary:
    return open_vocabulary(EncoderSettings())


@pytest.fixture(scope="module")
def read(builtin: Vocabulary) -> Read:
    reader = TextReader(TextEncoderSettings(), lambda: builtin)
    return lambda text: " ".join(reader([text])[0].split())


def save_bytes(file: Path) -> VocabularyFile:
    """A vocabulary of all bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({sign: n for n, sign in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(file))
    return VocabularyFile(file)


def save_pieces(file: Path, pieces: list[str]) -> VocabularyFile:
    """A WordPiece vocabulary."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {piece: number for number, piece in enumerate(["[UNK]", *pieces])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(file))
    return VocabularyFile(file)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("love😂it", "love : face with tears of joy : it"),
        ("👍🏽🇩🇪", ": thumbs up medium skin tone : : Germany :"),
        ("❤️ ❤", ": red heart : : red heart :"),
        ("1️⃣ of", ": keycap 1 : of"),
        ("so ➜ ☃", "so : heavy round tipped rightwards arrow : : snowman :"),
        ("5₿", "5 : bitcoin sign :"),
        ("𝐛𝐨𝐥𝐝 ｗｏｒｌｄ ʜᴇʟʟᴏ", "bold world hello"),
        ("🅗🅔🅛🅛🅞 Ⓗⓔⓨ 🇭🇪🇾", "HELLO Hey HEY"),
    ],
)
def test_what_the_built_in_encoder_lacks_becomes_words(
    read: Read, text: str, expected: str
) -> None:
    assert read(text) == expected


@pytest.mark.parametrize(
    "text", ["plain :) text", "café naïve", "♥️ ★ → ™ €5", "привет สวัสดี 你好", "\ue000 \u0378"]
)
def test_what_the_vocabulary_has_or_nobody_can_name_stays(builtin: Vocabulary, text: str) -> None:
    assert TextReader(TextEncoderSettings(), lambda: builtin)([text]) == [text]


def test_who_laughs_ten_times_leaves_room_for_words(read: Read) -> None:
    laugh = ": face with tears of joy :"
    assert read("😂" * 10 + " so 😂😂") == " ".join([laugh, laugh, laugh, "so", laugh, laugh])


def test_keep_changes_nothing(builtin: Vocabulary) -> None:
    settings = TextEncoderSettings(unknown="keep")
    assert TextReader(settings, lambda: builtin)(["a 😂 𝐛", None]) == ["a 😂 𝐛", ""]


def test_tweets_are_respelled_first(builtin: Vocabulary) -> None:
    reader = TextReader(TextEncoderSettings(normalize="tweet"), lambda: builtin)
    assert reader(["@bob 😀 ➜"])[0].split()[:2] == ["@USER", ":grinning_face:"]
    assert "rightwards arrow" in reader(["@bob 😀 ➜"])[0]


def test_a_prefix_stands_before_every_text_and_makes_none(builtin: Vocabulary) -> None:
    settings = TextEncoderSettings(prefix="query: ")
    reader = TextReader(settings, lambda: builtin)
    assert reader(["rain", "", None]) == ["query: rain", "", ""]


def test_an_encoder_that_reads_bytes_keeps_all_signs(tmp_path: Path) -> None:
    known = save_bytes(tmp_path / "tokenizer.json")
    text = "a 😂 𝐛 👨‍👩‍👧 ➜"
    assert TextReader(TextEncoderSettings(), lambda: known)([text]) == [text]


def test_a_vocabulary_keeps_the_emojis_that_it_has(tmp_path: Path) -> None:
    words = ["so", "a", "red", "heart", ":", "😂", "##😂"]
    known = save_pieces(tmp_path / "tokenizer.json", words)
    reader = TextReader(TextEncoderSettings(), lambda: known)
    assert reader(["so😂 ❤"])[0].split() == ["so😂", ":", "red", "heart", ":"]


def test_a_known_emoji_at_the_end_of_a_word_does_not_spoil_it(tmp_path: Path) -> None:
    known = save_pieces(tmp_path / "tokenizer.json", ["so", "a", "😂"])
    assert TextReader(TextEncoderSettings(), lambda: known)(["so😂"])[0].split() == ["so", "😂"]


def test_a_name_of_which_no_word_is_known_is_not_written(tmp_path: Path) -> None:
    known = save_pieces(tmp_path / "tokenizer.json", ["so"])
    assert TextReader(TextEncoderSettings(), lambda: known)(["so 😂"]) == ["so 😂"]


def test_no_vocabulary_is_opened_for_plain_texts() -> None:
    def refuse() -> Vocabulary:
        raise AssertionError

    assert TextReader(TextEncoderSettings(), refuse)(["plain", "สวัสดี", None]) == [
        "plain",
        "สวัสดี",
        "",
    ]
