"""Names of `transformers` that are not here, and what to use in their place."""

from __future__ import annotations

import re
from collections.abc import Iterable

from minitransformers.errors import nearest

# Names that text books use and that transformers 5 no longer has
REMOVED_NAMES = {
    "AdamW": "torch.optim.AdamW",
    "AutoModelWithLMHead": "AutoModelForCausalLM or AutoModelForMaskedLM",
    "DataCollatorForSOP": "minitransformers.data.SentencePairDataset with DataCollatorForLanguageModeling",
    "DataCollatorForWholeWordMask": "DataCollatorForLanguageModeling(tokenizer, whole_word_mask=True)",
    "TextDataset": "minitransformers.data.PackedDataset",
    "LineByLineTextDataset": "a tokenizer over the file's lines, and a torch Dataset",
    "TextDatasetForNextSentencePrediction": "minitransformers.data.SentencePairDataset",
    "TFBertModel": "BertModel: everything here is PyTorch",
    "TFGPT2LMHeadModel": "GPT2LMHeadModel: everything here is PyTorch",
    "TFAutoModel": "AutoModel: everything here is PyTorch",
}

# Patterns of names that transformers has, and this library does not
NOT_HERE = {
    # generation
    r"QuantizedCache|\w*QuantizedLayer": "take DynamicCache(offloading=True), or a model in bfloat16",
    r"\w*SlidingWindowLayer|SlidingWindowCache|\w*IndexedLayer|DummyLayer": (
        "a window is a mask here, and the cache keeps all tokens: take DynamicLayer or StaticLayer"
    ),
    r"CacheLayerMixin": "derive from DynamicLayer",
    r"LinearAttention\w+|MtpCache|DFlashCache|KVSharingDict": "no model here has such layers",
    r"ClassifierFreeGuidanceLogitsProcessor": (
        "it is for MusicGen alone: take UnbatchedClassifierFreeGuidanceLogitsProcessor"
    ),
    r"AlternatingCodebooksLogitsProcessor|Whisper\w+|Bark\w+|Dia[A-Z]\w+": "models of sounds are not covered",
    r"SynthIDTextWatermarkDetector|Bayesian\w+": (
        "it is a model that must be trained: train one of your own on "
        "SynthIDTextWatermarkLogitsProcessor.compute_g_values"
    ),
    r"ContinuousBatching\w+|ContinuousMixin|FIFOScheduler|PrefillFirstScheduler": (
        "call generate on batches of prompts of similar lengths"
    ),
    r"TextDiffusionStreamer|DiffusionGemma\w+|StableAndConfidentStoppingCriteria|LinearTemperatureSchedule\w+": (
        "models that generate by diffusion are not covered"
    ),
    r"\w*CandidateGenerator\w*|UniversalSpeculativeDecodingGenerator|AssistantToTargetTranslator": (
        "pass assistant_model, prompt_lookup_num_tokens or assistant_early_exit to generate, which makes it"
    ),
    # other libraries and kinds of data
    r"TF[A-Z]\w+|Flax\w+": "everything here is PyTorch: use the class without the prefix",
    r"pipeline|\w*Pipeline": "call the tokenizer and the model, as examples/01_quickstart.py does",
    r"BitsAndBytesConfig|GPTQConfig|AwqConfig|HqqConfig|QuantoConfig|TorchAoConfig|EetqConfig|AqlmConfig": (
        "quantize the loaded model with torchao"
    ),
    r"AutoProcessor|AutoFeatureExtractor|\w*FeatureExtractor|\w*Processor": (
        "use AutoTokenizer for texts, and AutoImageProcessor for images"
    ),
    r"AutoModelFor\w+|AutoBackbone": "models for texts and for the classification of images are covered",
    r"DataCollatorForPermutationLanguageModeling": "only XLNet is trained with it, which is not covered",
}


def explanation(owner: str, name: str, public: Iterable[str]) -> str:
    """What to use in place of `name`, which `owner`, a module of this package, does not have."""
    if name in REMOVED_NAMES:
        return f"{name} was removed from transformers 5 and is not here either: use {REMOVED_NAMES[name]}."
    near = nearest(name, public)
    for pattern, instead in NOT_HERE.items():
        if re.fullmatch(pattern, name):
            return f"module {owner!r} has no attribute {name!r}: {instead}.{near}"
    return f"module {owner!r} has no attribute {name!r}.{near or ' README.md lists the names that it has.'}"
