"""The families: their classes, what each class is given, and how a configuration is made small.

Nothing here is said of one family alone but what sets it apart: fields and tasks that several have are told by their
names, so that a new family is covered as soon as it is in `minitransformers.auto`.
"""

from __future__ import annotations

import inspect
import sys
from typing import Any, NamedTuple

from minitransformers.auto import CONFIG_MAPPING
from minitransformers.configs.config import Config
from minitransformers.errors import InputError
from minitransformers.models.base.pretrained import PreTrainedModel
from minitransformers.models.transformer import TransformerConfig

VOCAB_SIZE = 13
PADDING = 0
MAX_POSITIONS = 24  # of tokens; RoBERTa has one more, which is the padding's

FAMILIES: tuple[type[Config], ...] = (*CONFIG_MAPPING.values(), TransformerConfig)
"""The configuration of each."""


# ---- classes ---------------------------------------------------------------------------------------------------------


def classes_of(config_class: type[Config]) -> tuple[type[PreTrainedModel], ...]:
    """The backbone of a family and its models with heads, in the order in which its file has them."""
    module = sys.modules[config_class.__module__]
    return tuple(
        found
        for name, found in vars(module).items()
        if inspect.isclass(found)
        and issubclass(found, PreTrainedModel)
        and found.__module__ == module.__name__
        and (name.endswith("Model") or "For" in name)
        and not name.startswith("_")
        and not name.endswith("PreTrainedModel")
    )


CLASSES: tuple[type[PreTrainedModel], ...] = tuple(model for family in FAMILIES for model in classes_of(family))
"""Those of all families."""


class Label(NamedTuple):
    """A kind of label: how many there are, and below what number they are.

    `shape` is "token" (one for each, of the target where there is one), "row", "choice" (one for each choice of each
    row) or "patch". `limit` is a number, a field of the config, "choices", or "length".
    """

    shape: str
    limit: str | int
    may_be_ignored: bool = True


_TOKEN, _CLASS, _NAME = Label("token", "vocab_size"), Label("row", "num_labels"), Label("token", "num_labels")
_POSITION, _CHOICE, _OF_TWO = Label("row", "length"), Label("row", "choices"), Label("row", 2)

# By the end of a class's name; what stands first counts.
_LABELS_OF_TASKS: dict[str, dict[str, Label]] = {
    "AlbertForPreTraining": {"labels": _TOKEN, "sentence_order_label": _OF_TWO},
    "ElectraForPreTraining": {"labels": Label("token", 2, may_be_ignored=False)},
    "ForPreTraining": {"labels": _TOKEN, "next_sentence_label": _OF_TWO},
    "ForMaskedLM": {"labels": _TOKEN},
    "ForCausalLM": {"labels": _TOKEN},
    "LMHeadModel": {"labels": _TOKEN},
    "ForConditionalGeneration": {"labels": _TOKEN},
    "ForNextSentencePrediction": {"labels": _OF_TWO},
    "ForSequenceClassification": {"labels": _CLASS},
    "ForImageClassification": {"labels": _CLASS},
    "ForMultipleChoice": {"labels": _CHOICE},
    "ForTokenClassification": {"labels": _NAME},
    "ForQuestionAnswering": {"start_positions": _POSITION, "end_positions": _POSITION},
    "ForMaskedImageModeling": {"bool_masked_pos": Label("patch", 2, may_be_ignored=False)},
    "DoubleHeadsModel": {"mc_token_ids": Label("choice", "length"), "labels": _TOKEN, "mc_labels": _CHOICE},
    "Model": {},
}

LABELS: dict[type[PreTrainedModel], dict[str, Label]] = {
    model: next(labels for end, labels in _LABELS_OF_TASKS.items() if model.__name__.endswith(end)) for model in CLASSES
}
"""What each class is trained with."""


def _named(*ends: str) -> tuple[type[PreTrainedModel], ...]:
    return tuple(model for model in CLASSES if model.__name__.endswith(ends))


def _taking(*arguments: str) -> tuple[type[PreTrainedModel], ...]:
    return tuple(model for model in CLASSES if model._forward_arguments.issuperset(arguments))


BACKBONES = tuple(classes_of(family)[0] for family in FAMILIES)
_BIDIRECTIONAL = {model.config_class for model in _named("ForMaskedLM")}
ENCODERS = tuple(m for m in BACKBONES if m.config_class in _BIDIRECTIONAL) + _named("EncoderModel")
WITH_CHOICES = _named("ForMultipleChoice", "DoubleHeadsModel")
OF_IMAGES = _taking("pixel_values")
# Encoder–decoders that are given a target; in other classes of theirs the decoder reads the source.
WITH_TARGET = tuple(m for m in _taking("decoder_input_ids") if m in _named("Model", "ForConditionalGeneration"))
DECODERS = _named("LMHeadModel", "ForCausalLM")
WITH_VOCABULARY_HEAD = tuple(m for m, labels in LABELS.items() if _TOKEN in labels.values())
WITH_CACHE = _taking("past_key_values")
# The label of a token is the token itself, which the one before it is to predict. BART's labels are shifted already.
SHIFTED = tuple(m for m in _named("LMHeadModel", "ForCausalLM", "DoubleHeadsModel") if m.__name__ != "BartForCausalLM")
# Classifiers of an encoder–decoder look at the end of the text, which every text must have, once.
WITH_ENDS = tuple(m for m in _taking("decoder_input_ids") if m in _named("ForSequenceClassification"))


def listed_class(model: PreTrainedModel) -> type[PreTrainedModel]:
    """The class of `model`, or of `CLASSES` the one that it derives from."""
    for parent in type(model).__mro__:
        if parent in LABELS:
            return parent
    raise InputError(f"{type(model).__name__} is none of the classes of minitransformers, and derives from none.")


# ---- configurations --------------------------------------------------------------------------------------------------

# Two layers of three heads over 13 tokens; each family takes the names that it has.
_SMALL: dict[str, Any] = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "decoder_layers": 2,
    "num_attention_heads": 3,
    "decoder_attention_heads": 3,
    "num_key_value_heads": 1,
    "d_kv": 4,
    **dict.fromkeys(("intermediate_size", "hidden_dim", "d_ff", "encoder_ffn_dim", "decoder_ffn_dim"), 20),
    "embedding_size": 5,
    "max_position_embeddings": MAX_POSITIONS,
    "n_positions": MAX_POSITIONS,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 12,
    # Windows are smaller than texts
    "window_size": 3,
    "sliding_window": 3,
    "local_attention": 4,
    "use_sliding_window": True,
    "max_window_layers": 1,
    # Four patches
    "image_size": 8,
    "patch_size": 4,
    "encoder_stride": 4,
    "pad_token_id": PADDING,
    "bos_token_id": 1,
    "cls_token_id": 1,
    "decoder_start_token_id": 1,
    "eos_token_id": 2,
    "sep_token_id": 2,
}


def small_fields(model_class: type[PreTrainedModel], *, dropout: bool = False, **fields: Any) -> dict[str, Any]:
    """Fields of the configuration of a tiny model, a decoder where the class must be one.

    Args:
        dropout: as in the defaults; otherwise there is none.
        fields: further ones, or in place of those here.
    """
    config_class = model_class.config_class
    known = {*config_class._fields, *config_class.attribute_map}
    small = {name: value for name, value in _SMALL.items() if name in known}
    if not dropout:
        small |= {name: 0.0 for name in config_class._fields if "drop" in name}
    if model_class in DECODERS and "is_decoder" in known:
        small["is_decoder"] = True
    small |= fields
    if "attention_types" in known and "attention_types" not in small:  # one for each layer, and no fewer
        kinds = ["global", "local"] * small["num_hidden_layers"]
        small["attention_types"] = [[kinds[: small["num_hidden_layers"]], 1]]
    return small
