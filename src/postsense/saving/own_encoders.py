"""The encoders inside a model folder, whose configurations anyone may have written, are tried.

What such a text can ask for is bounded before transformers reads it; what was made of it has to
answer one made-up post.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from postsense.config import Config, EncoderSettings
from postsense.encoders.embeddings import Embeddings
from postsense.encoders.pretrained import text_checkpoint
from postsense.encoders.processors import chosen_policy, load_tokenizer
from postsense.errors import ModelError, PostsenseError
from postsense.files.json_files import read_json_file
from postsense.inputs.batches import Comments, Pixels, PostBatch, Read, TokenIds
from postsense.model.post_model import PostModel
from postsense.registry.inputs import INPUTS
from postsense.saving.description import Description
from postsense.saving.files import ANEW, ENCODERS, inside

LARGEST_NUMBER = 2**21  # in a configuration; the vocabularies known have half of that at most
LARGEST_SIDE_PX = 4096  # of what becomes of a picture
_CONFIGURATIONS = ("config.json", "preprocessor_config.json")


def refuse_large_settings(folder: Path) -> None:
    """Refuse configurations in a model folder with numbers that no network has.

    Raises: ModelError: there is such a number, or the file is damaged.
    """
    for name in ENCODERS.values():
        for file in (folder / name / configuration for configuration in _CONFIGURATIONS):
            if not file.exists():
                continue
            try:
                largest = max(_integers(read_json_file(inside(folder, file))), default=0)
            except (OSError, ValueError) as error:
                raise ModelError(file, "JSON in UTF-8", str(error), ANEW) from None
            if largest > LARGEST_NUMBER:
                found = f"{largest:.4g}" if largest < 10**300 else "a larger one"
                raise ModelError(file, f"numbers up to {LARGEST_NUMBER}", found, ANEW)


def _integers(value: Any, key: str = "") -> Iterator[int]:
    """The whole numbers in a configuration, but for wavelengths of positions, which are large."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _integers(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from _integers(inner, key)
    elif isinstance(value, int) and "theta" not in key:
        yield value


def refuse_useless_encoders(
    folder: Path, description: Description, config: Config, model: PostModel
) -> None:
    """Refuse a model with encoders inside that cannot answer a post of their kind.

    Raises: ModelError: a tokenizer or picture policy that cannot be read, or an encoder that fails.
    """
    if not model.encodes:
        return
    expected = "encoders that read a post"
    try:
        logits = _answer(description, config, model)
    except PostsenseError as error:
        raise ModelError(folder, error.expected, error.found, ANEW) from None
    except Exception as error:  # what transformers does with a configuration of anyone
        lines = str(error).strip().splitlines()
        found = f"{type(error).__name__}: {lines[0][:500] if lines else ''}"
        raise ModelError(folder, expected, found, ANEW) from None
    if tuple(logits.shape) != (1, len(description.classes)):
        found = f"an answer of shape {tuple(logits.shape)}"
        raise ModelError(folder, expected, found, ANEW)


@torch.inference_mode()
def _answer(description: Description, config: Config, model: PostModel) -> torch.Tensor:
    """Logits (1, K) of a post with a word, a picture and what else the model reads."""
    read = {name: _made_up(name, description, config.encoders) for name in config.inputs}
    comments = None
    if config.reads_comments:
        count = config.comments.count
        words = _words(description, config.encoders, rows=count)
        comments = Comments(words, torch.ones(1, count, dtype=torch.bool))
    answer: torch.Tensor = model(PostBatch(read, comments)).logits
    return answer


def _made_up(name: str, description: Description, settings: EncoderSettings) -> Read:
    one = INPUTS[name]
    if not one.has_column:
        return Embeddings(torch.zeros(1, one.width), torch.ones(1, dtype=torch.bool))
    if one.holds == "words":
        return _words(description, settings, rows=1)
    return _picture(description, settings)


def _words(description: Description, settings: EncoderSettings, rows: int) -> TokenIds | Embeddings:
    chosen = settings.text
    if not chosen.runs_inside:
        return _features(description.text_dim or 1, rows, chosen.read_layers)
    tokenizer = load_tokenizer(text_checkpoint(settings), chosen.max_length)
    word, pad = tokenizer(["a"])[0], tokenizer.pad_id  # which fills up shorter texts of a batch
    ids = torch.tensor([[*word, pad]] * rows, dtype=torch.int64)
    mask = torch.ones_like(ids, dtype=torch.bool)
    mask[:, -1] = False
    return TokenIds(ids, mask)


def _picture(description: Description, settings: EncoderSettings) -> Pixels | Embeddings:
    if not settings.image.runs_inside:
        return _features(description.image_dim or 1, 1, 1)
    policy = chosen_policy(settings)
    sides = (*policy.size_px, policy.resize_px)
    if not all(1 <= side <= LARGEST_SIDE_PX for side in sides):
        where, expected = "picture policy", f"sides of 1 to {LARGEST_SIDE_PX} pixels"
        raise ModelError(where, expected, f"{sides}", ANEW)
    pixels = torch.zeros(1, 3, *policy.size_px)
    return Pixels(pixels, torch.ones(1, dtype=torch.bool))


def _features(width: int, rows: int, layers: int) -> Embeddings:
    """What a frozen encoder of this width gives for some posts."""
    there = torch.ones(rows, 1, dtype=torch.bool)
    tokens = torch.zeros(rows, 1, width * layers)
    return Embeddings(torch.zeros(rows, width), there[:, 0], tokens, there)
