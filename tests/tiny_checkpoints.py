"""Fixtures of tiny checkpoints, saved as transformers saves real ones: a folder each."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

LAYERS = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}
BERT_MARKS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
ROBERTA_MARKS = ("<pad>", "<unk>", "<s>", "</s>")
SQUARE_32 = {"size": {"height": 32, "width": 32}, "resample": 2}
HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25]}


def save_tokenizer(folder: Path, words: list[str], marks: tuple[str, ...], longest: int) -> None:
    """A tokenizer of whole words. marks: for padding, unknown words, start and end, in order."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    pad, unknown, start, end = marks
    vocabulary = {word: number for number, word in enumerate([*marks, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=unknown))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}", special_tokens=[(start, 2), (end, 3)]
    )
    names = {"pad_token": pad, "unk_token": unknown, "cls_token": start, "sep_token": end}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names, model_max_length=longest)
    fast.save_pretrained(folder)


def save_model(folder: Path, name: str, config: Any, **options: bool) -> None:
    """A model of transformers, by the name of its class, with random weights of seed 0."""
    import torch
    import transformers

    torch.manual_seed(0)
    getattr(transformers, name)(config, **options).save_pretrained(folder)


def save_processor(folder: Path, kind: str, **settings: object) -> None:
    """What a picture becomes, as image processors save it."""
    values = {"image_processor_type": f"{kind}ImageProcessor", **settings}
    (folder / "preprocessor_config.json").write_text(json.dumps(values))


@pytest.fixture(scope="session")
def make_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    return tmp_path_factory.mktemp


@pytest.fixture(scope="session")
def tiny_bert(make_folder: Callable[[str], Path], known_words: list[str]) -> Path:
    """A BERT checkpoint of width 16 and two layers that knows the words of the 45 posts."""
    from transformers import BertConfig

    folder, size = make_folder("tiny-bert"), len(BERT_MARKS) + len(known_words)
    config = BertConfig(vocab_size=size, **LAYERS, max_position_embeddings=64)
    save_model(folder, "BertModel", config)
    save_tokenizer(folder, known_words, BERT_MARKS, longest=64)
    return folder


@pytest.fixture(scope="session")
def tiny_roberta(make_folder: Callable[[str], Path], known_words: list[str]) -> Path:
    """A RoBERTa checkpoint like tiny_bert, for 62 tokens, saved with its pretraining head."""
    from transformers import RobertaConfig

    folder, size = make_folder("tiny-roberta"), len(ROBERTA_MARKS) + len(known_words)
    config = RobertaConfig(
        vocab_size=size, **LAYERS, max_position_embeddings=63, pad_token_id=0, type_vocab_size=1
    )
    save_model(folder, "RobertaForMaskedLM", config)
    save_tokenizer(folder, known_words, ROBERTA_MARKS, longest=512)
    return folder


@pytest.fixture(scope="session")
def tiny_xlm_roberta(make_folder: Callable[[str], Path], known_words: list[str]) -> Path:
    """An XLM-RoBERTa checkpoint, for 64 tokens, saved with its pretraining head."""
    from transformers import XLMRobertaConfig

    folder, size = make_folder("tiny-xlm-roberta"), len(ROBERTA_MARKS) + len(known_words)
    config = XLMRobertaConfig(
        vocab_size=size, **LAYERS, max_position_embeddings=65, pad_token_id=0, type_vocab_size=1
    )
    save_model(folder, "XLMRobertaForMaskedLM", config)
    save_tokenizer(folder, known_words, ROBERTA_MARKS, longest=512)
    return folder


@pytest.fixture(scope="session")
def tiny_mpnet(make_folder: Callable[[str], Path], known_words: list[str]) -> Path:
    """An MPNet checkpoint, for 62 tokens."""
    from transformers import MPNetConfig

    folder, size = make_folder("tiny-mpnet"), len(ROBERTA_MARKS) + len(known_words)
    config = MPNetConfig(vocab_size=size, **LAYERS, max_position_embeddings=63, pad_token_id=0)
    save_model(folder, "MPNetModel", config)
    save_tokenizer(folder, known_words, ROBERTA_MARKS, longest=512)
    return folder


@pytest.fixture(scope="session")
def tiny_vit(make_folder: Callable[[str], Path]) -> Path:
    """A ViT checkpoint of width 16 and two layers for pictures of 32 x 32 in four patches."""
    from transformers import ViTConfig

    folder, config = make_folder("tiny-vit"), ViTConfig(**LAYERS, image_size=32, patch_size=16)
    save_model(folder, "ViTModel", config, add_pooling_layer=False)
    save_processor(folder, "ViT", **SQUARE_32, **HALF)
    return folder


@pytest.fixture(scope="session")
def tiny_beit(make_folder: Callable[[str], Path]) -> Path:
    """A BEiT checkpoint for pictures of 32 x 32 in four patches."""
    from transformers import BeitConfig

    folder, config = make_folder("tiny-beit"), BeitConfig(**LAYERS, image_size=32, patch_size=16)
    save_model(folder, "BeitModel", config)
    save_processor(folder, "Beit", **SQUARE_32, **HALF, do_center_crop=False)
    return folder


@pytest.fixture(scope="session")
def tiny_deit(make_folder: Callable[[str], Path]) -> Path:
    """A DeiT checkpoint: a class and a distillation token, then four patches."""
    from transformers import DeiTConfig

    folder, config = make_folder("tiny-deit"), DeiTConfig(**LAYERS, image_size=32, patch_size=16)
    save_model(folder, "DeiTModel", config)
    crop = {"crop_size": {"height": 32, "width": 32}, "do_center_crop": True}
    save_processor(folder, "DeiT", size={"height": 36, "width": 36}, **crop, resample=3)
    return folder


@pytest.fixture(scope="session")
def tiny_resnet(make_folder: Callable[[str], Path]) -> Path:
    """A ResNet checkpoint whose last feature map is 16 wide."""
    from transformers import ResNetConfig

    folder = make_folder("tiny-resnet")
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    save_model(folder, "ResNetModel", config)
    save_processor(folder, "ConvNext", size={"shortest_edge": 32}, crop_pct=0.875, resample=3)
    return folder


@pytest.fixture(scope="session")
def tiny_efficientnet(make_folder: Callable[[str], Path]) -> Path:
    """An EfficientNet checkpoint of two blocks whose last feature map is 16 wide."""
    from transformers import EfficientNetConfig

    folder = make_folder("tiny-efficientnet")
    config = EfficientNetConfig(
        image_size=32,
        width_coefficient=1 / 80,  # of the 1280 features of the last map
        depth_coefficient=1.0,
        hidden_dim=16,
        kernel_sizes=[3, 3],
        in_channels=[32, 16],
        out_channels=[16, 16],
        depthwise_padding=[],
        strides=[1, 2],
        num_block_repeats=[1, 1],
        expand_ratios=[1, 2],
        initializer_range=0.5,  # of the usual 0.02 nothing would be left in half precision
    )
    save_model(folder, "EfficientNetModel", config)
    spread = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.479, 0.473, 0.474]}
    save_processor(folder, "EfficientNet", **SQUARE_32, **spread, include_top=True)
    return folder


@pytest.fixture(scope="session")
def tiny_clip(make_folder: Callable[[str], Path], tiny_bert: Path) -> Path:
    """A CLIP checkpoint, a text and a vision model of two layers, with tiny_bert's tokenizer."""
    from transformers import CLIPConfig

    folder = _with_tokenizer_of(tiny_bert, make_folder("tiny-clip"))
    text = {"vocab_size": 32, "eos_token_id": 3, "bos_token_id": 2, "pad_token_id": 0}
    config = CLIPConfig(
        text_config={**LAYERS, **text, "max_position_embeddings": 24},
        vision_config={**LAYERS, "image_size": 32, "patch_size": 16},
    )
    save_model(folder, "CLIPModel", config)
    crop = {"crop_size": {"height": 32, "width": 32}, "do_center_crop": True}
    spread = {"image_mean": [0.48, 0.46, 0.41], "image_std": [0.27, 0.26, 0.28]}
    save_processor(folder, "CLIP", size={"shortest_edge": 40}, **crop, **spread, resample=3)
    return folder


@pytest.fixture(scope="session")
def tiny_siglip(make_folder: Callable[[str], Path], tiny_bert: Path) -> Path:
    """A SigLIP checkpoint, as SigLIP 2 has them too: 24 tokens, of which 1 says it is padding.

    The tokenizer, tiny_bert's, says 0, and is right.
    """
    from transformers import SiglipConfig

    folder = _with_tokenizer_of(tiny_bert, make_folder("tiny-siglip"))
    text = {"vocab_size": 32, "eos_token_id": 3, "bos_token_id": 2, "pad_token_id": 1}
    config = SiglipConfig(
        text_config={**LAYERS, **text, "max_position_embeddings": 24, "projection_size": 16},
        vision_config={**LAYERS, "image_size": 32, "patch_size": 16},
    )
    save_model(folder, "SiglipModel", config)
    save_processor(folder, "Siglip", **SQUARE_32, **HALF)
    return folder


@pytest.fixture(scope="session")
def tiny_vilt(make_folder: Callable[[str], Path], tiny_bert: Path) -> Path:
    """A ViLT checkpoint with its pretraining head: 20 tokens, pictures of 32 x 32 in 16 patches."""
    from transformers import ViltConfig

    folder = _with_tokenizer_of(tiny_bert, make_folder("tiny-vilt"))
    config = ViltConfig(
        **LAYERS, vocab_size=32, max_position_embeddings=20, image_size=32, patch_size=8
    )
    save_model(folder, "ViltForMaskedLM", config)
    save_processor(
        folder, "Vilt", size={"shortest_edge": 32}, size_divisor=8, resample=3, do_pad=True, **HALF
    )
    return folder


@pytest.fixture(scope="session")
def tiny_lxmert(make_folder: Callable[[str], Path], tiny_bert: Path) -> Path:
    """An LXMERT checkpoint with its pretraining heads; it reads regions of width 8."""
    from transformers import LxmertConfig

    folder = _with_tokenizer_of(tiny_bert, make_folder("tiny-lxmert"))
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}
    stacks = {"l_layers": 2, "r_layers": 1, "x_layers": 1, "visual_feat_dim": 8}
    labels = {"num_qa_labels": 3, "num_object_labels": 3, "num_attr_labels": 3}
    config = LxmertConfig(vocab_size=32, max_position_embeddings=48, **sizes, **stacks, **labels)
    save_model(folder, "LxmertForPreTraining", config)
    return folder


def _with_tokenizer_of(checkpoint: Path, folder: Path) -> Path:
    for file in checkpoint.glob("*token*"):
        shutil.copy(file, folder)
    return folder
