"""The fusions: what each reads, needs and gives. A new one is a line here and a file of its own."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from postsense.registry.table import Registry


@dataclass(frozen=True)
class Fusion:
    """A way to join what is read of a post.

    build: "module:function" of (`fusion.given.Given`, FusionSettings), or the function. It returns
        a torch module that is called with what it reads, in the order of `registry.inputs`, and
        returns `fusion.joined.Joined`.
    reads: the inputs that it cannot do without. may_read: those that it reads too where the
        settings ask for them: name a column, or give a block a weight.
    vectors: the inputs of which it reads one vector, where they also come as tokens or regions;
        comment_vectors: those of which it does only to look for comments.
    sequences: whether it reads tokens of words and regions of pictures, beside one vector each.
    encodes: inputs that reach it as token ids or pixels, since it encodes them itself, together
        with the others. encoder: what it does that with, the text encoder or a joint checkpoint.
    frozen: inputs whose encoder must not train. raw_regions: region features reach it as a
        detector gave them, not standardised.
    settings: those of FusionSettings that it looks at beside name and dropout.
    text_layers: the layers of the text encoder whose tokens it reads, unless the settings say
        otherwise. least_batch: posts that a batch must hold.
    own_projection: it projects what it reads itself: encoders.projection has no place.
    may_lack_layer: whether fusion.hidden may be 0.
    aligned: the vectors of words and picture that losses compare. "inputs": those that it reads;
        "unimodal": those of its method of that name, each read without the other; "own": those
        that its method `vectors` makes, of width fusion.shared_width; None: it does not read both.
    comments: how hint comments are attended, "early": read with the picture as the post's words
        are; None: it reads no words.
    small: its products are too small to be shared by several threads.
    """

    name: str
    title: str
    build: str | Callable[..., Any]
    reads: tuple[str, ...] = ("text", "image")
    may_read: tuple[str, ...] = ()
    vectors: tuple[str, ...] = ("text", "image")
    comment_vectors: tuple[str, ...] = ()
    sequences: bool = False
    encodes: tuple[str, ...] = ()
    encoder: Literal["text", "vilt", "lxmert"] | None = None
    frozen: tuple[str, ...] = ()
    raw_regions: bool = False
    settings: tuple[str, ...] = ("hidden", "input_dropout")
    text_layers: int = 1
    least_batch: int = 1
    own_projection: bool = False
    may_lack_layer: bool = False
    aligned: Literal["inputs", "unimodal", "own"] | None = "inputs"
    comments: Literal["bilinear", "additive", "pair", "early"] | None = "bilinear"
    small: bool = False

    @property
    def is_joint(self) -> bool:
        """Whether words and picture are encoded together."""
        return bool(self.encodes)

    @property
    def is_one_model(self) -> bool:
        """Whether one checkpoint encodes words and picture."""
        return {"text", "image"} <= set(self.encodes)


_COMMON = ("hidden", "input_dropout")
# vectors that stand beside what the last layer reads
_OF_WORDS = ("lexical", "tfidf")
_BLOCKS = (*_OF_WORDS, "comments")
FUSIONS = Registry(
    "fusion",
    [
        Fusion(
            "concat",
            "all vectors side by side",
            "postsense.fusion.concat:build",
            may_read=("title", *_BLOCKS),
            may_lack_layer=True,
            small=True,
        ),
        Fusion(
            "cross_attention",
            "every word looks for the regions that concern it",
            "postsense.fusion.cross_attention:build",
            vectors=("text",),
            comment_vectors=("image",),
            may_read=("title", *_BLOCKS),
            sequences=True,
        ),
        Fusion(
            "co_memory",
            "words and picture look at each other by turns",
            "postsense.fusion.co_memory:build",
            may_read=_OF_WORDS,
            sequences=True,
            comments="additive",
        ),
        Fusion(
            "hierarchical",
            "words, picture and attributes, each under the eyes of all",
            "postsense.fusion.hierarchical:build",
            vectors=("text",),
            reads=("text", "image", "attributes"),
            sequences=True,
            settings=(*_COMMON, "fidelity"),
            comments="pair",
        ),
        Fusion(
            "bitransformer",
            "a text encoder reads the picture as some more words",
            "postsense.fusion.bitransformer:build",
            vectors=(),
            encodes=("text",),
            encoder="text",
            settings=(*_COMMON, "picture_tokens"),
            own_projection=True,
            aligned="unimodal",
            comments="early",
        ),
        Fusion(
            "vilt",
            "one transformer for words and patches",
            "postsense.fusion.vilt:build",
            vectors=(),
            encodes=("text", "image"),
            encoder="vilt",
            own_projection=True,
            aligned="unimodal",
            comments="early",
        ),
        Fusion(
            "lxmert",
            "layers for words, for regions, and across both",
            "postsense.fusion.lxmert:build",
            vectors=(),
            sequences=True,
            encodes=("text",),
            encoder="lxmert",
            frozen=("image",),
            raw_regions=True,
            own_projection=True,
            aligned="unimodal",
            comments="early",
        ),
        Fusion(
            "cross_modal",
            "words and picture in one space, each attending as the other asks",
            "postsense.fusion.cross_modal:build",
            vectors=(),
            may_read=_OF_WORDS,
            sequences=True,
            settings=(*_COMMON, "fidelity", "reader_width", "shared_width", "interaction"),
            text_layers=4,
            least_batch=2,
            own_projection=True,
            aligned="own",
            small=True,
        ),
        Fusion(
            "text_only",
            "the words alone",
            "postsense.fusion.concat:build",
            vectors=("text",),
            reads=("text",),
            may_read=("title", *_BLOCKS),
            may_lack_layer=True,
            aligned=None,
            small=True,
        ),
        Fusion(
            "image_only",
            "the picture alone",
            "postsense.fusion.concat:build",
            vectors=("image",),
            reads=("image",),
            may_lack_layer=True,
            aligned=None,
            comments=None,
            small=True,
        ),
        Fusion(
            "blocks_only",
            "the blocks alone that need no encoder, such as counts of words",
            "postsense.fusion.concat:build",
            vectors=(),
            reads=(),
            may_read=_OF_WORDS,
            may_lack_layer=True,
            aligned=None,
            comments=None,
            small=True,
        ),
    ],
)
