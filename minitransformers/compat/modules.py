"""The reference's module paths, and where their names are here; finder.py serves them.

Paths are relative to the package. The public names of the package can be imported from every path of `COLLECTIONS`, so
that only modules with further names are listed.
"""

from __future__ import annotations

# The reference's folder of a family -> our module in `models/`
FAMILIES = {
    "albert": "albert",
    "bart": "bart",
    "bert": "bert",
    "dinov2": "dinov2",
    "distilbert": "distilbert",
    "electra": "electra",
    "gpt2": "gpt2",
    "gpt_neo": "gpt_neo",
    "gpt_neox": "gpt_neox",
    "llama": "llama",
    "mistral": "mistral",
    "modernbert": "modernbert",
    "openai": "openai_gpt",
    "qwen2": "qwen2",
    "roberta": "roberta",
    "t5": "t5",
    "vit": "vit",
    "xlm_roberta": "xlm_roberta",
}

# One of our modules under another path: the same module, so that what a script replaces in it is replaced.
SAME_MODULES = {
    "configuration_utils": "configs.config",
    "modeling_outputs": "outputs",
    "modeling_utils": "models.base.pretrained",
    "models.auto.modeling_auto": "auto",
    "models.auto.configuration_auto": "auto",
    "models.auto.auto_factory": "auto",
    "models.auto.tokenization_auto": "tokenization.auto",
    "models.auto.image_processing_auto": "images.processor",
    "models.vit.image_processing_vit": "images.processor",
    "trainer": "training.trainer.trainer",
    "trainer_seq2seq": "training.trainer.seq2seq",
    "training_args_seq2seq": "training.trainer.seq2seq",
    "hf_argparser": "training.trainer.argument_parser",
    "pipelines.pt_utils": "pipelines.datasets",
    "utils.import_utils": "utils.availability",
}
SAME_MODULES |= {f"models.{theirs}.modeling_{theirs}": f"models.{ours}" for theirs, ours in FAMILIES.items()}
SAME_MODULES |= {f"models.{theirs}.configuration_{theirs}": f"models.{ours}" for theirs, ours in FAMILIES.items()}

# One of our modules -> modules that have further names of its paths
FURTHER_NAMES: dict[str, tuple[str, ...]] = {
    "configs.config": ("compat.helpers",),
    "models.bart": ("models.base.encoder_decoder",),
    "models.base.pretrained": ("compat.generic", "compat.layers"),
    "training.trainer.trainer": (
        "compat.helpers",
        "compat.generic",
        "training.loop.checkpoint_directories",
        "utils.availability",
    ),
}

# Names that the reference's `utils` has and that are elsewhere here
UTILS = (
    "utils.availability",
    "utils.versions",
    "compat.helpers",
    "compat.generic",
    "tokenization",
    "tokenization.base.arguments",
    "outputs",
)

# A path of the reference -> modules of ours that have further names of it
COLLECTIONS: dict[str, tuple[str, ...]] = {
    "activations": ("compat.layers",),
    "cache_utils": ("nn.cache", "nn.static_cache"),
    "data.data_collator": ("data", "compat.helpers", "compat.generic"),
    "feature_extraction_utils": ("images.processor",),
    "file_utils": UTILS,
    "generation.candidate_generator": ("generation",),
    "generation.configuration_utils": ("generation.config", "generation"),
    "generation.logits_process": ("generation",),
    "generation.stopping_criteria": ("generation",),
    "generation.streamers": ("generation",),
    "generation.utils": ("generation", "generation.outputs", "nn.cache", "nn.static_cache"),
    "generation.watermarking": ("generation",),
    "image_processing_utils": ("images.processor",),
    "image_utils": ("images.processor",),
    "integrations": ("utils.availability", "compat.helpers", "training.trainer.wandb_callback"),
    "integrations.deepspeed": ("utils.availability",),
    "integrations.fsdp": ("utils.availability",),
    "integrations.integration_utils": ("training.trainer.wandb_callback", "utils.availability", "compat.helpers"),
    "integrations.peft": ("models.base.adapters",),
    "loss": ("models.base.loss_functions",),
    "loss.loss_utils": ("models.base.loss_functions",),
    "modeling_layers": ("models.base.checkpointing",),
    "models.auto": ("auto", "tokenization.auto"),
    "models.openai": ("models.openai_gpt",),
    "optimization": ("training.loop.schedules", "training.loop.adafactor"),
    "pytorch_utils": ("compat.layers",),
    "testing_utils": ("compat.helpers", "utils.availability"),
    "tokenization_python": ("tokenization", "compat.helpers"),
    "tokenization_utils": ("tokenization", "tokenization.base.arguments"),
    "tokenization_utils_base": ("tokenization", "tokenization.base.arguments", "compat.helpers"),
    "tokenization_utils_fast": ("tokenization",),
    "tokenization_utils_tokenizers": ("tokenization", "compat.helpers"),
    "trainer_callback": ("training.trainer.callbacks", "training.trainer.standard_callbacks"),
    "trainer_pt_utils": (
        "training.trainer.nested",
        "training.trainer.samplers",
        "training.trainer.label_smoothing",
        "training.trainer.checkpoint_files",
        "training.trainer.reports",
        "training.trainer.parallel_arguments",
        "compat.helpers",
    ),
    "trainer_utils": (
        "training.trainer.predictions",
        "training.trainer.nested",
        "training.trainer.checkpoint_files",
        "training.trainer.search",
        "training.trainer.batch_size_finder",
        "training.trainer.data_loaders",
        "training.trainer.samplers",
        "training.trainer.strategies",
        "training.loop.checkpoint_directories",
        "training.trainer.arguments",
        "compat.helpers",
        "compat.generic",
    ),
    "training_args": (
        "training.trainer.arguments",
        "training.trainer.strategies",
        "training.trainer.parallel_arguments",
        "training.loop.optimizers",
    ),
    "utils.constants": ("compat.helpers",),
    "utils.doc": ("compat.helpers",),
    "utils.generic": ("outputs", "compat.generic", "compat.helpers", "tokenization", "tokenization.base.arguments"),
    "utils.hub": ("compat.generic", "compat.helpers", "files.pushing"),
    "utils.quantization_config": (),
}
COLLECTIONS |= {f"models.{family}.tokenization_{family}": ("tokenization",) for family in FAMILIES}
COLLECTIONS |= {f"models.{family}.tokenization_{family}_fast": ("tokenization",) for family in FAMILIES}
