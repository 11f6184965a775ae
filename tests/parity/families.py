"""The families that every suite here goes through. A new one: a table in a file of its own, and a line here."""

from __future__ import annotations

from albert_cases import ALBERT
from bart_cases import BART
from bert_cases import BERT
from cases import Case, Family
from dinov2_cases import DINOV2
from distilbert_cases import DISTILBERT
from electra_cases import ELECTRA
from gpt2_cases import GPT2
from gpt_neo_cases import GPT_NEO
from gpt_neox_cases import GPT_NEOX
from llama_cases import LLAMA, MISTRAL, QWEN2
from modernbert_cases import MODERNBERT
from openai_gpt_cases import OPENAI_GPT
from roberta_cases import ROBERTA, XLM_ROBERTA
from t5_cases import T5
from vit_cases import VIT

FAMILIES: list[Family] = [
    BERT,
    GPT2,
    OPENAI_GPT,
    ROBERTA,
    XLM_ROBERTA,
    ALBERT,
    DISTILBERT,
    ELECTRA,
    GPT_NEO,
    GPT_NEOX,
    LLAMA,
    MISTRAL,
    MODERNBERT,
    QWEN2,
    VIT,
    DINOV2,
    T5,
    BART,
]

INHERITED: list[Case] = [case for family in (XLM_ROBERTA, MISTRAL, QWEN2) for case in family.cases[1:]]
"""Classes whose `forward` and parts are another family's: RoBERTa's and Llama's, which are tested there."""
CASES: list[Case] = [case for family in FAMILIES for case in family.cases if case not in INHERITED]
CLASSES: list[Case] = [case for family in FAMILIES for case in family.classes]
BACKBONES: list[Case] = [family.cases[0] for family in FAMILIES]


def family_of(name: str) -> Family:
    """The family that has a class of that name."""
    return next(family for family in FAMILIES if name in [case.name for case in family.cases])
