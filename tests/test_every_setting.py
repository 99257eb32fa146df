"""Whoever changes a setting changes the posts, the model or its training, or is told it is unread.

Written over the settings themselves: one that is added is under this rule by itself.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from corpus.made_posts import build, row, tiny_settings
from other_values import NoOtherValueError, is_choice, other_values
from postsense.config import Config, LossSettings
from postsense.config.fields import Setting, settings_in
from postsense.config.loading import load_config
from postsense.encoders import backbone, frozen
from postsense.errors import ConfigError, PostsenseError
from postsense.losses.total import Weighted
from postsense.registry import LOSSES, Loss
from postsense.training import loop
from setting_outcomes import EARLIER, FIRST_STAGE, PREPARED, Outcome, Rows

SETTINGS = [
    setting
    for setting in settings_in(Config)
    # what changes no result, and the device, which a machine may lack
    if not (setting.marks.get("same_result") or setting.key == "training.device")
]
ALIKE_HERE = {  # by setting, value and scenario, which is "" where it is any
    ("training.mixed_precision", "no", ""): "as 'auto' without a GPU",
    ("encoders.image.pixels", "quick", "vilt"): "as its processor makes them",
    ("encoders.text.precision", "auto", ""): "as the machine is",
    ("encoders.image.precision", "auto", ""): "as the machine is",
}
ANY_VALUE = ("training.select_by",)  # few posts do not tell all metrics apart
WORDS = ["awful", "rain", "again", "bus", "line", "what", "a", "lovely", "day"]
CLASSES = ("negative", "neutral", "positive")
LINK = "https://t.co/abcdef"


@dataclass(frozen=True)
class Scenario:
    """Settings under which each other one is changed. spelled: other values of texts and paths."""

    name: str
    values: Mapping[str, Any]

    def configured(self, **changes: Any) -> Config:
        """The settings, with some changed."""
        return load_config(values={**self.values, **changes})


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Encoders are neither tried out nor exported, and no checkpoint is kept."""

    def in_torch(network: Any, *others: Any) -> Any:
        return frozen._torch_runner(network.eval().requires_grad_(False), others[-1])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frozen, "_runner", in_torch)
        patch.setattr(backbone, "_with_habits", lambda network, trial: network)
        for name in ("refuse_meaningless_texts", "refuse_meaningless_pictures"):
            patch.setattr(backbone, name, lambda *_: None)
        patch.setattr(loop, "save_checkpoint", lambda *_: None)
        yield


def certain_term(settings: LossSettings, class_weights: torch.Tensor | None) -> Weighted:
    """How far logits are from 0, which every post has, labelled or not."""
    return Weighted(settings.weight("certain"), lambda output, _: output.logits.square().mean())


@pytest.fixture(scope="module", autouse=True)
def more_losses() -> Iterator[None]:
    """A loss beside those that come with the package."""
    LOSSES.register(Loss("certain", "no class is certain", certain_term))
    yield
    LOSSES.forget("certain")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """24 small pictures, the last two a JPEG that is cut short and a file that is none."""
    folder, generator = tmp_path_factory.mktemp("settings"), torch.Generator().manual_seed(0)
    files = []
    for number in range(24):
        file = folder / f"{number}.jpg"
        cells = torch.randint(0, 255, (4, 4, 3), dtype=torch.uint8, generator=generator)
        Image.fromarray(cells.numpy()).resize((24, 34)).save(file)
        files.append(str(file))
    whole = Path(files[22]).read_bytes()
    Path(files[22]).write_bytes(whole[: int(0.8 * len(whole))])
    Path(files[23]).write_bytes(b"nothing")
    return files


@pytest.fixture(scope="module")
def rows(pictures: list[str]) -> list[dict[str, Any]]:
    """24 posts: 15 of train, 6 of val, 3 of test, with all that settings are about.

    A picture that two posts share, posts that lack a modality or both, links, handles, emojis.
    Every column has a second one, named other_..., in which all is a little different.
    """
    return [_row(number, pictures) for number in range(24)]


def _row(number: int, pictures: Sequence[str]) -> dict[str, Any]:
    told = 13 if number == 21 else number  # of one content and two labels: no model is always right
    words = [word for bit, word in enumerate(WORDS) if told * 37 % 509 >> bit & 1]
    text = " ".join([*words, WORDS[told % 9], ("🌧️", LINK, "@someone")[told % 3]])
    image = pictures[4 if number == 5 else told]
    attributes = [WORDS[number % 9], WORDS[number // 3]]
    label = CLASSES[1 if number == 21 else number * 7 // 2 % 5 % 3]  # not as many of each
    split = ("train", "train", "val", "train", "train", "val", "test", "train")[number % 8]
    values: dict[str, Any] = {
        "id": f"p{number}",
        "text": None if number in (3, 8) else text,
        "image": None if number in (4, 8) else image,
        "regions": None if number in (4, 8) else _regions(image, 0),
        "label": label,
        "split": split,
        "attributes": attributes,
        "comments": ["what a day", f"{WORDS[number % 9]} rain", "a bus"][: number % 4],
        "created_at": "2012-05-01",
    }
    other: dict[str, Any] = {
        "id": f"q{number}",
        "text": " ".join(reversed(words)) + " line",
        "title": " ".join(reversed(words)),
        "image": pictures[(number + 1) % 22],
        "regions": _regions(pictures[(number + 1) % 22], 1),
        "label": CLASSES[number % 3],
        "split": ("train", "val", "train", "test")[number % 4],
        "attributes": attributes[:1],
        "comments": ["awful rain"],
        "created_at": "2013-05-01",
    }
    return {**values, **{f"other_{name}": value for name, value in other.items()}}


def _regions(image: str, seed: int) -> str:
    """A file of two regions, eight wide, for a picture."""
    file = Path(image).with_suffix(f".{seed}.safetensors")
    generator = torch.Generator().manual_seed(seed + len(image) + int(Path(image).stem))
    boxes = torch.tensor([[0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0]])
    save_file({"features": torch.rand(2, 8, generator=generator), "boxes": boxes}, file)
    return str(file)


@pytest.fixture(scope="module")
def corpora(
    tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path, tiny_vit: Path, pictures: list[str]
) -> list[Path]:
    """Two corpora, of 30 and 20 posts, three on each picture, with comments of several kinds."""
    from postsense.retrieval.indexing import index_corpus

    folders, settings = [], tiny_settings(tiny_bert, tiny_vit)
    for count in (30, 20):
        folder = tmp_path_factory.mktemp("corpora") / "corpus"
        said = [
            ["awful rain again", "thank you", f"a lovely {WORDS[n % 9]} line {WORDS[n // 4]}"]
            for n in range(30)
        ]
        posts = [
            row(n, image=pictures[n // 3], comments=[*said[n], "what a bus", "day"][: 3 + n % 3])
            for n in range(count)
        ]
        build(folder, posts, settings)
        index_corpus(folder)
        folders.append(folder)
    return folders


QUICK = {
    "data.max_bad_fraction": 0.2,
    "fusion.name": "concat",  # else a method brings its own
    "fusion.hidden": 6,
    "training.epochs": 4,
    "training.batch_size": 8,
    "training.learning_rate": 0.03,
    "training.max_grad_norm": 0.1,
    "training.patience": 3,
    "training.select_by": "accuracy",  # which few posts leave as it is from epoch to epoch
    "training.device": "cpu",
}
TINY_TEXT = {"encoders.text.name": "tiny_bert", "encoders.text.max_length": 16}
TINY_IMAGE = {"encoders.image.name": "tiny_deit"}
TRAINED_TEXT = {**TINY_TEXT, "encoders.text.trainable": True}
TRAINED_IMAGE = {**TINY_IMAGE, "encoders.image.trainable": True}
CONTRAST = {
    "losses.intra_text": 0.5,
    "losses.intra_image": 0.5,
    "losses.inter_modal": 0.5,
    "losses.inter_step": "second",
}
ITC_ITM = {"losses.itc": 0.1, "losses.itm": 0.2}
CORPUS = {
    "retrieval.corpus": "corpus",
    "retrieval.min_score": -1.0,
    "comments.max_generic": 0.999,
    "comments.min_words": 2,
    "comments.count": 2,
}
SCENARIOS: dict[str, dict[str, Any]] = {
    "concat over the built-in encoders": {},
    "regression on vectors": {
        **TINY_TEXT,
        **TINY_IMAGE,
        "method": "regression",
        "fusion.hidden": 0,
        "regression.penalty": 0.5,
        "blocks.lexical": 1.0,
    },
    "ridge on vectors": {
        **TINY_TEXT,
        **TINY_IMAGE,
        "method": "ridge",
        "fusion.hidden": 0,
        "ridge.points": 10,
        "ridge.penalty": 0.5,
    },
    "concat with vectors of words, some of which weigh more": {
        **TINY_TEXT,
        "blocks.image": 0.5,
        "blocks.lexical": 2.0,
        "blocks.tfidf": 0.5,
    },
    "concat over frozen checkpoints, with projection and contrast": {
        **TINY_TEXT,
        **TINY_IMAGE,
        **CONTRAST,
        "losses.inter_step": "same",
        "encoders.projection": 5,
    },
    "concat over checkpoints that run as in released code": {
        **TINY_TEXT,
        **TINY_IMAGE,
        "encoders.text.fidelity": "released",
        "encoders.image.fidelity": "released",
        "losses.itc": 0.1,
        "losses.itc_width": 5,
        "training.schedule": "step",
        "training.step_epochs": 2,
    },
    "cross_attention": {**TINY_TEXT, **TINY_IMAGE, "fusion.name": "cross_attention"},
    "cross_attention over trained encoders": {
        **TRAINED_TEXT,
        **TRAINED_IMAGE,
        **ITC_ITM,
        "fusion.name": "cross_attention",
        "losses.class_weights": "balanced",
    },
    "co_memory": {**TINY_TEXT, **TRAINED_IMAGE, "fusion.name": "co_memory"},
    "hierarchical": {**TINY_TEXT, **TINY_IMAGE, "fusion.name": "hierarchical"},
    "hierarchical with comments": {
        **TINY_TEXT,
        **TRAINED_IMAGE,
        **CORPUS,
        "fusion.name": "hierarchical",
    },
    "bitransformer": {**TRAINED_TEXT, **TRAINED_IMAGE, "fusion.name": "bitransformer"},
    "bitransformer over frozen pictures, with comments": {
        **TRAINED_TEXT,
        **TINY_IMAGE,
        **CORPUS,
        "fusion.name": "bitransformer",
    },
    "vilt": {
        "fusion.name": "vilt",
        "encoders.text.name": "tiny_vilt",
        "encoders.image.name": "tiny_vilt",
        "encoders.text.trainable": True,
        "encoders.image.trainable": True,
        "encoders.text.max_length": 16,
    },
    "lxmert over regions": {
        "fusion.name": "lxmert",
        "encoders.text.name": "tiny_lxmert",
        "encoders.text.trainable": True,
        "encoders.text.max_length": 16,
        "encoders.image.name": "regions",
    },
    "cross_modal in two steps, with every loss": {
        **TINY_TEXT,
        **TINY_IMAGE,
        **ITC_ITM,
        **CONTRAST,
        "method": "two_step_contrastive",
        "training.step_epochs": 2,
        "fusion.name": "cross_modal",
        "fusion.reader_width": 6,
        "fusion.shared_width": 5,
        "encoders.text.read_layers": 2,
    },
    "cross_modal without interaction": {
        **TRAINED_TEXT,
        **TRAINED_IMAGE,
        "fusion.name": "cross_modal",
        "fusion.interaction": "none",
        "fusion.reader_width": 6,
        "fusion.shared_width": 5,
        "encoders.text.read_layers": 2,
    },
    "text_only, trained": {**TRAINED_TEXT, "fusion.name": "text_only"},
    "text_only by a new network": {
        **TRAINED_TEXT,
        "fusion.name": "text_only",
        "encoders.text.network": "cnn",
    },
    "image_only, trained": {**TRAINED_IMAGE, "fusion.name": "image_only"},
    "image_only over regions": {
        "fusion.name": "image_only",
        "encoders.image.name": "regions",
    },
    "comments": {**TINY_TEXT, **TINY_IMAGE, **CORPUS},
    "own comments, attended to and as blocks": {
        **TINY_TEXT,
        **TINY_IMAGE,
        "comments.own": True,
        "comments.count": 2,
        "comments.most": 2,
        "blocks.comments": 1.0,
    },
    "own comments before borrowed ones": {
        **TINY_TEXT,
        **TINY_IMAGE,
        **CORPUS,
        "comments.own": True,
        "fusion.name": "co_memory",
    },
    "comments as published": {
        **TINY_TEXT,
        **TINY_IMAGE,
        **CORPUS,
        "retrieval.fidelity": "released",
        "retrieval.min_score": 0.4,
    },
    "self_training": {
        **TINY_TEXT,
        **TINY_IMAGE,
        **CORPUS,
        "method": "self_training",
        "self_training.rounds": 2,
        "self_training.weighting": "adaptive",
        "self_training.threshold": 0.2,
        "training.select_by": "loss",
        "training.epochs": 3,
    },
    "self_training without comments": {
        **TINY_TEXT,
        **TINY_IMAGE,
        "retrieval.corpus": "corpus",
        "retrieval.min_score": -1.0,
        "comments.count": 0,
        "method": "self_training",
        "training.select_by": "loss",
        "self_training.rounds": 1,
    },
    "cluster_pseudo_labels": {
        **TINY_TEXT,
        **TINY_IMAGE,
        "method": "cluster_pseudo_labels",
        "training.schedule": "linear",
        "clustering.clusters": 4,
        "clustering.subset": 12,
        "clustering.restarts": 2,
    },
    "cluster_pseudo_labels over trained encoders": {
        **TRAINED_TEXT,
        **TRAINED_IMAGE,
        "method": "cluster_pseudo_labels",
        "training.schedule": "linear",
        "clustering.clusters": 4,
        "fusion.name": "hierarchical",
    },
}
QUICK_ONES = (  # the others are marked slow
    "text_only by a new network",
)
SLOW = pytest.mark.slow
OF_STEPS = {key for key in QUICK if key.startswith("training.")} - {"training.device"}
OF_LABELS = ("training.patience", "training.select_by")  # of QUICK, unread where none are learned


@pytest.fixture(scope="module")
def places(request: pytest.FixtureRequest, corpora: list[Path]) -> Callable[[str], str]:
    """`places(name)`: the folder of a tiny checkpoint or of a corpus, by its name."""
    known = {"corpus": str(corpora[0]), "other corpus": str(corpora[1])}

    def place(name: str) -> str:
        return known.get(name) or str(request.getfixturevalue(name))

    return place


@pytest.fixture(scope="module")
def start(
    tmp_path_factory: pytest.TempPathFactory, rows: Rows, places: Callable[[str], str]
) -> Callable[[Scenario], str]:
    """`start(scenario)`: a run of it, of another seed, to start from."""

    def run(scenario: Scenario) -> str:
        from postsense.data.loading import load_posts
        from postsense.runs.training import train_run

        folder = tmp_path_factory.mktemp("start") / "run"
        steps = {} if "on vectors" in scenario.name else {"training.epochs": 1}
        config = scenario.configured(seed=7, **steps)
        train_run(load_posts(rows), config, folder)
        return str(folder)

    return run


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK_ONES else SLOW) for name in SCENARIOS]
)
def test_a_setting_that_is_changed_makes_a_difference_or_is_refused(
    name: str,
    rows: list[dict[str, Any]],
    places: Callable[[str], str],
    start: Callable[[Scenario], str],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.CRITICAL)
    named = ("encoders.text.name", "encoders.image.name", "retrieval.corpus")
    chosen = {
        key: places(value) if key in named and value != "regions" else value
        for key, value in {**QUICK, **SCENARIOS[name]}.items()
        if not (key in OF_LABELS and "cluster" in name)
        and not (key in OF_STEPS and "on vectors" in name)
    }
    scenario = Scenario(name, chosen)
    without_val = [
        {**one, "split": None if one["split"] == "val" else one["split"]} for one in rows
    ]
    before = Outcome(scenario.configured(), rows, without_val, tmp_path / "before")
    spelled = {
        **{
            f"data.columns.{key}": [f"other_{key}"]
            for key in type(before.config.data.columns).model_fields
        },
        "data.positive_class": ["positive"],
        "losses.more": [{"certain": 0.5}],
        "ensemble.members": [["tfidf"]],
        "ensemble.stand_ins": [["tfidf"]],
        "encoders.text.name": [places("tiny_roberta"), "builtin"],
        "encoders.text.prefix": ["a lovely day "],
        "encoders.image.name": [places("tiny_beit"), "builtin"],
        "retrieval.corpus": [places("other corpus")],
        "training.start_from": [start(scenario)],
    }
    assert len(before.digests) == 3
    silent = [
        problem
        for setting in SETTINGS
        if (problem := _silent(setting, scenario, before, spelled)) is not None
    ]
    assert not silent, "\n".join(silent)


def _silent(
    setting: Setting, scenario: Scenario, before: Outcome, spelled: Mapping[str, Sequence[Any]]
) -> str | None:
    """Why a setting breaks the rule; None if it does not."""
    try:
        others = other_values(setting, setting.value_in(before.config), spelled)
    except NoOtherValueError as error:
        return str(error)
    made, refused = list[bool](), 0
    for value in others:
        if {(setting.key, str(value), name) for name in ("", scenario.name)} & ALIKE_HERE.keys():
            continue
        try:
            config = scenario.configured(**{setting.key: value})
        except ConfigError as error:
            if not _names(str(error), setting.key, value):
                return f"{setting.key} = {value!r} is refused without being named: {error}"
            refused += 1
            continue
        differs = _differs(setting.key, config, before)
        if isinstance(differs, str):
            return f"{setting.key} = {value!r}: {differs}"
        made.append(differs)
        each = is_choice(setting) and setting.key not in ANY_VALUE
        if differs and not each:
            return None
        if not differs and each:
            return f"{setting.key} = {value!r} makes no difference"
    if made and not any(made):
        return f"{setting.key} makes no difference, be it any of {others}"
    return None


def _differs(key: str, config: Config, before: Outcome) -> bool | str:
    """Whether any stage comes out otherwise; a text: it is refused without being named."""
    first = PREPARED if key in EARLIER else FIRST_STAGE.get(key.partition(".")[0], PREPARED)
    folder = before.folder.parent / "after" / str(len(list(before.folder.parent.glob("after/*"))))
    folder.mkdir(parents=True)
    after = Outcome(config, before.rows, before.without_val, folder, before, first)
    try:
        return any(one != other for one, other in zip(after.stages(), before.digests, strict=True))
    except ConfigError as error:
        return True if _names(str(error), key, None) else str(error)
    except PostsenseError:
        return True


def _names(message: str, key: str, value: object) -> bool:
    """Whether a message names a setting: by its key, its section or its value."""
    section = key.rpartition(".")[0]
    if key == "method":  # it may bring settings of its own, of which any may be refused
        return True
    return key in message or f"'{value}'" in message or (bool(section) and section in message)
