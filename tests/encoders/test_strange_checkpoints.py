"""Checkpoints of strangers: their code never runs, and what cannot be read is refused in a line."""

import io
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import transformers

from postsense.encoders.backbone import load_image_backbone, load_text_backbone
from postsense.encoders.joint import load_joint_backbone
from postsense.encoders.processors import load_tokenizer, picture_policy
from postsense.errors import EncoderError
from tiny_checkpoints import LAYERS, save_model, save_processor

CODE = "from pathlib import Path\n(Path(__file__).parent / 'marker').touch()\nPath({!r}).touch()\n"


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What a user would say if asked."""
    stdin = io.StringIO("y\n" * 20)
    monkeypatch.setattr(sys, "stdin", stdin)
    return stdin


@pytest.fixture
def with_code(tmp_path: Path) -> Callable[..., Path]:
    """A copy of a checkpoint whose settings in one file ask for Python code beside them."""

    def make(source: Path, file: str, **settings: Any) -> Path:
        folder = shutil.copytree(source, tmp_path / "strange")
        (folder / "strange.py").write_text(CODE.format(str(tmp_path / "marker")))
        known = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps({**known, **settings}))
        return folder

    return make


MODEL = {"AutoConfig": "strange.StrangeConfig", "AutoModel": "strange.StrangeModel"}
PROCESSOR = {"AutoImageProcessor": "strange.StrangeProcessor"}
TOKENIZER = {"AutoTokenizer": ["strange.StrangeTokenizer", None]}
OPENED: dict[str, Callable[[Path], Any]] = {
    "model": lambda folder: load_text_backbone(folder, None),
    "empty model": lambda folder: load_text_backbone(folder, None, pretrained=False),
    "pictures": lambda folder: load_image_backbone(folder, None, "mean"),
    "both": lambda folder: load_joint_backbone(folder, "vilt", None),
    "tokenizer": lambda folder: load_tokenizer(folder, 16),
    "processor": picture_policy,
}


@pytest.mark.parametrize(
    ("opened", "source", "file", "settings"),
    [
        ("model", "tiny_bert", "config.json", {"model_type": "strange", "auto_map": MODEL}),
        ("empty model", "tiny_bert", "config.json", {"model_type": "strange", "auto_map": MODEL}),
        ("pictures", "tiny_vit", "config.json", {"model_type": "strange", "auto_map": MODEL}),
        ("both", "tiny_vilt", "config.json", {"model_type": "strange", "auto_map": MODEL}),
        ("tokenizer", "tiny_bert", "config.json", {"model_type": "strange", "auto_map": MODEL}),
        (
            *("processor", "tiny_vit", "preprocessor_config.json"),
            {"image_processor_type": "StrangeProcessor", "auto_map": PROCESSOR},
        ),
    ],
)
def test_the_code_of_a_checkpoint_is_never_run(
    request: pytest.FixtureRequest,
    with_code: Callable[..., Path],
    answers: io.StringIO,
    tmp_path: Path,
    opened: str,
    source: str,
    file: str,
    settings: dict[str, Any],
) -> None:
    folder = with_code(request.getfixturevalue(source), file, **settings)

    with pytest.raises(EncoderError, match="The code of a checkpoint is never run") as caught:
        OPENED[opened](folder)

    assert caught.value.where.startswith("encoders.") and f"'{folder}'" in caught.value.found
    assert f"'{file}' asks for its own code" in caught.value.found and "\n" not in str(caught.value)
    assert answers.tell() == 0 and not list(tmp_path.rglob("marker"))


@pytest.mark.parametrize(
    ("opened", "source", "file", "auto_map"),
    [
        ("model", "tiny_bert", "config.json", MODEL),
        ("empty model", "tiny_bert", "config.json", MODEL),
        ("tokenizer", "tiny_bert", "tokenizer_config.json", TOKENIZER),
        ("processor", "tiny_vit", "preprocessor_config.json", PROCESSOR),
    ],
)
def test_where_transformers_knows_the_architecture_code_beside_it_is_left_alone(
    request: pytest.FixtureRequest,
    with_code: Callable[..., Path],
    answers: io.StringIO,
    tmp_path: Path,
    opened: str,
    source: str,
    file: str,
    auto_map: dict[str, Any],
) -> None:
    folder = with_code(request.getfixturevalue(source), file, auto_map=auto_map)

    OPENED[opened](folder)

    assert answers.tell() == 0 and not list(tmp_path.rglob("marker"))


SENTENCES = ["awful rain again", "what a lovely day", "bus line seven stops at the office"]
PIECES = {
    "XLNet": {"d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 32},
    "Albert": {**LAYERS, "embedding_size": 16},
    "T5": {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2},
    "MBart": {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1},
    "XLMRoberta": LAYERS,
}
FILES = {"MBart": "sentencepiece.bpe.model", "XLMRoberta": "sentencepiece.bpe.model"}


@pytest.fixture(scope="module")
def pieces() -> bytes:
    """A model of SentencePiece that knows the sentences."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 5),
        model_writer=model,
        vocab_size=44,
        hard_vocab_limit=False,
        user_defined_symbols=["[CLS]", "[SEP]", "<cls>", "<sep>", "<pad>"],
        minloglevel=9,
    )
    return model.getvalue()


@pytest.mark.parametrize("name", PIECES)
def test_a_checkpoint_with_nothing_but_sentence_pieces_is_read(
    tmp_path: Path, pieces: bytes, name: str
) -> None:
    getattr(transformers, f"{name}Config")(**PIECES[name], vocab_size=60).save_pretrained(tmp_path)
    (tmp_path / FILES.get(name, "spiece.model")).write_bytes(pieces)

    tokenizer = load_tokenizer(tmp_path, 30)

    (ids,) = tokenizer(["lovely rain"])
    assert tokenizer.tokenizer.decode(ids, skip_special_tokens=True).strip() == "lovely rain"


def test_a_missing_package_for_sentence_pieces_is_named(
    tmp_path: Path, pieces: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    transformers.XLNetConfig(**PIECES["XLNet"]).save_pretrained(tmp_path)
    (tmp_path / "spiece.model").write_bytes(pieces)
    monkeypatch.setitem(sys.modules, "sentencepiece", None)

    with pytest.raises(EncoderError, match=r"pip install sentencepiece\.$") as caught:
        load_tokenizer(tmp_path, 16)
    assert caught.value.expected == "the package 'sentencepiece'"


def test_a_tokenizer_that_reads_characters_needs_no_vocabulary(tmp_path: Path) -> None:
    transformers.CanineConfig(**LAYERS).save_pretrained(tmp_path)
    transformers.CanineTokenizer().save_pretrained(tmp_path)

    (ids,) = load_tokenizer(tmp_path, 16)(["ab"])

    assert ids[1:-1] == [ord("a"), ord("b")]


def test_a_vocabulary_in_a_file_that_is_not_read_is_missed(tmp_path: Path, pieces: bytes) -> None:
    transformers.XGLMConfig(d_model=16, num_layers=1, vocab_size=5000).save_pretrained(tmp_path)
    (tmp_path / "sentencepiece.bpe.model").write_bytes(pieces)

    with pytest.raises(EncoderError, match="expected a checkpoint with its tokenizer"):
        load_tokenizer(tmp_path, 16)


def test_flava_lends_either_of_its_two_networks(tmp_path: Path) -> None:
    sizes = {**LAYERS, "image_size": 32, "patch_size": 16, "vocab_size": 64}
    config = transformers.FlavaConfig(
        text_config=sizes, image_config=sizes, multimodal_config=LAYERS, projection_dim=8
    )
    save_model(tmp_path, "FlavaModel", config)
    save_processor(tmp_path, "ViT", size={"height": 32, "width": 32})

    text, image = load_text_backbone(tmp_path, None), load_image_backbone(tmp_path, None, "cls")

    assert type(text.model).__name__ == "FlavaTextModel"
    assert type(image.model).__name__ == "FlavaImageModel"


def test_a_network_of_sounds_is_refused_as_text_encoder(tmp_path: Path) -> None:
    config = transformers.HubertConfig(**LAYERS, conv_dim=[8], conv_stride=[5], conv_kernel=[10])
    save_model(tmp_path, "HubertModel", config)

    with pytest.raises(EncoderError, match="a network that reads the tokens of a text") as caught:
        load_text_backbone(tmp_path, None)
    assert "\n" not in str(caught.value)
