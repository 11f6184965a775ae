"""Why attributes of the reference's classes are not here, or are the same in name only.

Class patterns -> reason -> patterns of attributes; patterns are regular expressions, several in one text. Names of
modules are explained by `minitransformers/compat/names.py`, which users read in error messages.
"""

from __future__ import annotations

import re

PARALLEL = "a model is whole on each device: `training.parallelize` shards or copies it under torchrun"
OWN_CODE = "a repository's code is never run"
SERVING = "call `generate_batch`, or `generate` on batches of prompts"
LAYERS_OF_CONFIGS = "no covered family has layers with configurations of their own, or parts with theirs"
IMAGES = "call the processor: one function reads, resizes and normalizes each image, without torchvision"
CHECKED_FIELDS = "every field is checked when it is set, and `validate()` checks them together"
SLOW = "every tokenizer runs on the Rust library; `backend_tokenizer` is its object"
PIPELINE_PARTS = "each task is a file that reads top to bottom: override `preprocess`, `_forward` and `postprocess`"

NOT_HERE: dict[str, dict[str, str]] = {
    "PreTrainedModel": {
        PARALLEL: (
            r"(tp|pp|ep|fsdp)_(plan|size) supports_(tp|pp)_plan supports_context_parallel \w*distribute\w* "
            r"init_parallel_plans should_save_on_this_rank gather_sharded\w+ barrier_\w+ save_distributed_checkpoint"
        ),
        OWN_CODE: "is_custom_code is_remote_code register_for_auto_class",
        "attention has two kernels, chosen by `set_attn_implementation`; torch.compile fuses the rest": (
            r"(get|set)_experts_implementation get_correct_\w+ (set_)?use_kernels kernel_config is_backend_compatible "
            r"get_compiled_call can_record_outputs"
        ),
        "quantization is torchao's, on the loaded model": "dequantize",
        "`gradient_checkpointing_enable` and `…_disable` do the same": (
            r"activation_checkpointing_\w+ gradient_checkpointing"
        ),
        "it serves the loading of weights in transformers": (
            r"get_init_context mark_tied\w+ get_expanded\w+ all_tied_weights_keys"
        ),
        "DistilBERT has them; the positions of other families are fixed": r"\w+_position_embeddings",
        "load adapters by name, with `load_adapter` and `set_adapter`": "enable_peft_hotswap",
        "it is GenerationConfig in every model": "generation_config_class",
        "`loss_function` is the function itself": "loss_type",
    },
    "PreTrainedConfig": {
        PARALLEL: r"base_model_(tp|pp|ep|fsdp)_plan",
        OWN_CODE: "is_custom_code is_remote_code register_for_auto_class",
        LAYERS_OF_CONFIGS: (
            r"sub_configs\w* base_config_key \w*per_layer\w* is_heterogeneous get_mtp_config extra_(config_)?files"
        ),
        CHECKED_FIELDS: r"validate_\w+",
        "families with rotary positions have these fields, and others do not": (
            r"\w*rope\w* default_theta ignore_keys_at_rope_validation"
        ),
        "`to_dict` writes types of tensors as text": "dict_dtype_to_str",
        "`type(config)()` has the defaults": "default_config_fields",
        "a configuration does not depend on the version that wrote it; a file's is kept": "transformers_version",
    },
    r"\w+Config": {
        "outputs for object detection are not covered": (
            r"(out|stage)_\w+ \w+_out_features_out_indices set_output_features\w+"
        ),
        "`attention_types` is expanded when it is read": "expand_attention_types_params",
        "`to_dict` writes types of tensors as text": "dict_dtype_to_str",
        PARALLEL: r"base_model_(tp|pp|ep|fsdp)_plan",
        "it serves the conversion of old fields in transformers": (
            r"convert_rope_params_to_dict keys_to_ignore_at_inference"
        ),
        CHECKED_FIELDS: r"validate_\w+",
        "pass a dictionary": "from_json_file",
    },
    "GenerationMixin": {
        SERVING: r"\w*continuous_batching\w*",
        "a method of `PreTrainedModel`, which says so where a model has no head": "generate_batch",
        OWN_CODE: "load_custom_generate",
        "leave out the last token of the prompt": "heal_tokens",
        "models for texts give texts": "output_modalities",
        "it serves models that write sounds": "adjust_generation_fn",
    },
    "PreTrainedTokenizerBase|PreTrainedTokenizer|PreTrainedTokenizerFast": {
        SLOW: (
            r"build_inputs_with_special_tokens create_token_type_ids_from_sequences prepare_for_\w+ truncate_sequences "
            r"convert_added_tokens slow_tokenizer_class can_save_slow_tokenizer "
            r"pretrained_vocab_files_map backend decoder "
            r"model add_prefix_space set_truncation_and_padding convert_to_native_format"
        ),
        OWN_CODE: "register_for_auto_class",
        "it serves the loading of files in transformers": "deprecation_warnings files_loaded init_inputs",
        "parse the text that a model writes with a function of your own": r"\w*response\w*",
        "`apply_chat_template` of the whole conversation gives the same text": "encode_message_with_chat_template",
        "`save_pretrained` writes the templates": "save_chat_templates",
    },
    r"M2M100Tokenizer|MBart\w*Tokenizer": {"it is here for isinstance() only: its family is not covered": r"\w+"},
    "OptimizerNames": {
        "pass an optimizer of another package to Trainer, as `optimizers` or `optimizer_cls_and_kwargs`": r"[A-Z_0-9]+",
    },
    "PushToHubMixin": {"models, configurations and tokenizers have it": "save_pretrained"},
    "SchedulerType": {"`get_scheduler` has all other schedules, ReduceLROnPlateau among them": "GREEDY"},
    "TensorType": {"MLX's arrays are not made": "MLX"},
    "ViTImageProcessor": {
        IMAGES: (
            r"backend center_crop convert_to_rgb crop_size data_format default_to_square device disable_grouping "
            r"do_center_crop do_pad fetch_images image_seq_length input_data_format normalize pad "
            r"pad_size process_image "
            r"rescale\w* resize return_tensors valid_kwargs"
        ),
        OWN_CODE: "register_for_auto_class",
    },
    r"Cache|\w*Cache|\w*Layer": {
        "no covered family has layers that keep another state than keys and values": r"\w+_(state|indexer)",
        "`DynamicCache(offloading=True)` keeps keys and values on the CPU": "offload prefetch offloading",
        "a cache of either kind is accepted": "check_dynamic_cache",
        "chunks of the feed-forward would give the same result": "feed_forward_chunk",
    },
    "BatchFeature": {"`convert_to_tensors` is given the names to skip": "skip_tensor_conversion"},
    "DataCollatorForLanguageModeling": {
        "`generator` and `seed` are arguments": "create_rng get_generator",
        "`return_tensors='np'` turns the batch into arrays": "numpy_mask_tokens",
    },
    r"\w*Pipeline": {
        PIPELINE_PARTS: (
            r"check_model_type default_input_names device_placement ensure_tensor_on_device get_i\w+ "
            r"run_single \w*ntities "
            r"aggregate\w* get_tag ensure_exactly_one_mask_token function_to_apply XL_PREFIX"
        ),
    },
    r"Trainer|Seq2SeqTrainer": {
        PARALLEL: r"is_(fsdp|deepspeed|model_parallel|distributed)\w* deepspeed get_(cp|sp|tp)_size",
        "`neftune_noise_alpha` is a field of `args`": "neftune_noise_alpha",
        "every model that is covered is given labels": "can_return_loss",
        "processes share what they predict by `accelerator.gather_for_metrics`": "gather_function",
        "the plan of a run is made once, in training/trainer/plan.py": "set_initial_training_values",
    },
    r"TrainingArguments|Seq2SeqTrainingArguments": {
        PARALLEL: "deepspeed_plugin fsdp_plugin_args distributed_state",
        "`optim` is 'adamw_torch_fused' where it can be": "default_optim",
        "a constant of the reference's own checks": r"is_torch_\w+",
    },
    "TrainerState": {"the state is filled as a run goes on": "init_training_references"},
    r"LogitsProcessor|\w*Criteria|\w*LogitsProcessor": {
        SERVING: "supports_continuous_batching",
        "the criterion is prepared once, when it is built": "clean_\\w+",
        "build the processor with the index": "set_begin_index",
        "the hash of the last tokens is the seed": "set_seed",
    },
    r"GPT\w+|Llama\w+|Mistral\w+|Qwen2\w+|ModernBert\w+|T5\w+|Albert\w+|Dinov2\w+|PushToHubMixin|\w+For\w+|\w+Model": {
        "it is a field of `config`": (
            r"embed_dim vocab_size padding_idx model_dim attn_implementation has_sliding_layers sparse_prediction"
        ),
        "labels of −100 are ignored": "sparse_pred_ignore_index",
        "`gradient_checkpointing_enable` and `…_disable` do the same": "gradient_checkpointing",
        "it serves the loading of weights in transformers": "all_tied_weights_keys",
        "attention has two kernels, chosen by `set_attn_implementation`; torch.compile fuses the rest": "kernel_config",
        "`loss_function` is the function itself": "loss_type",
    },
}

# Where the arguments differ; the page and this table say how.
NAME_ONLY: dict[str, dict[str, str]] = {
    r"\w+Config": {
        "fields are keywords of any name; a file's version is kept": "__init__",
        "where a file is, is said by keyword": "from_pretrained",
        "the whole configuration is written": r"to_json_\w+ validate",
    },
    r"\w+Model|\w+For\w+|\w+HeadsModel": {
        "options of the output are passed by keyword": "forward",
        "the argument has another name: pass it by position": r"set_(input|output)_embeddings",
        "where to save and load, and what, is said by keyword": "save_pretrained load_adapter from_pretrained",
        "there are two kernels to choose from": "set_attn_implementation",
        "pairs are tied as the class lists them": "tie_weights",
    },
    "PushToHubMixin": {
        "the argument has another name: pass it by position": r"set_(input|output)_embeddings",
        "models, configurations and tokenizers save themselves": "save_pretrained",
    },
    "GenerationMixin": {"prompts that steer away are passed by keyword": "generate"},
    r"\w+Tokenizer": {"the vocabulary is passed by keyword, or read by `from_pretrained`": "__init__"},
    r"\w*ImageProcessor": {"where a file is, is said by keyword": "from_pretrained"},
    r"\w*DataCollator\w*": {"the argument has another name: pass it by position": r"\w+_call"},
    r"\w*Output\w*": {"fields come in the order of the output, and by keyword in any": "__init__"},
    r"\w*Layer": {
        "a block of a family has the arguments of its own file": r"__init__ forward",
        "the argument has another name: pass it by position": "reorder_cache",
    },
    r"\w*Criteria": {"further arguments are passed by keyword": r"__call__"},
    r"\w*Pipeline": {"a step takes what the step before it gives": r"(pre|post)process __init__"},
    r"\w*TrainingArguments": {"fields are passed by keyword": "__init__"},
    r"\w*Callback": {"events are given args, state and control by position, and the rest by keyword": r"on_\w+"},
}


def decision(owner: str, attribute: str, difference: str) -> str | None:
    """The reason of a difference; None where nobody has decided."""
    table = NOT_HERE if difference == "missing" else NAME_ONLY
    for owners, reasons in table.items():
        if re.fullmatch(owners, owner):
            for reason, patterns in reasons.items():
                if any(re.fullmatch(pattern, attribute) for pattern in patterns.split()):
                    return reason
    return None
