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

# What to use in place of names that transformers has and this library does not: reason -> patterns of names, in one
# text. The first that matches counts.
NOT_HERE = {
    "take DynamicCache(offloading=True), or a model in bfloat16": (r"QuantizedCache \w*QuantizedLayer"),
    "a window is a mask here, and the cache keeps all tokens: take DynamicLayer or StaticLayer": (
        r"\w*SlidingWindowLayer SlidingWindowCache \w*IndexedLayer DummyLayer"
    ),
    "derive from DynamicLayer": (r"CacheLayerMixin"),
    "no model here has such layers": (r"LinearAttention\w+ MtpCache DFlashCache KVSharingDict"),
    "it is for MusicGen alone: take UnbatchedClassifierFreeGuidanceLogitsProcessor": (
        r"ClassifierFreeGuidanceLogitsProcessor"
    ),
    "models of sounds are not covered": (r"AlternatingCodebooksLogitsProcessor Whisper\w+ Bark\w+ Dia[A-Z]\w+"),
    (
        "it is a model that must be trained: train one of your own on "
        "SynthIDTextWatermarkLogitsProcessor.compute_g_values"
    ): (r"SynthIDTextWatermarkDetector Bayesian\w+"),
    "call generate on batches of prompts of similar lengths": (
        r"ContinuousBatching\w+ ContinuousMixin (FIFO|PrefillFirst)?Scheduler"
    ),
    "models that generate by diffusion are not covered": (
        r"TextDiffusionStreamer DiffusionGemma\w+ StableAndConfidentStoppingCriteria LinearTemperatureSchedule\w+"
    ),
    "pass assistant_model, prompt_lookup_num_tokens or assistant_early_exit to generate, which makes it": (
        r"\w*CandidateGenerator\w* UniversalSpeculativeDecodingGenerator Assistant\w*Translator\w*"
    ),
    "derive from StoppingCriteria": (r"\w*StopCheck"),
    "a pipeline of that task is not covered": (r"\w*Pipeline"),
    "it is a function or an attribute of PyTorch or NumPy": (
        r"expand_dims reshape squeeze transpose tensor_size get_available_devices get_current_accelerator "
        r"get_device_type get_cuda_runtime_version get_torch_major\w+ is_torchdynamo_exporting is_jax_jitting "
        r"is_mlx_array"
    ),
    "it is a method of Trainer": (
        r"get_(learning_rates|num_trainable_parameters|optimizer_group) (log|save)_metrics save_state"
    ),
    "the losses of covered models are in minitransformers.models.base.loss_functions": (
        r"For\w+Loss fixed_cross_entropy"
    ),
    "call default_data_collator with return_tensors": (r"(numpy|torch)_default_data_collator"),
    "read os.environ": (r"is_env_variable_false"),
    "timm's models are not covered": (r"is_timm_\w+"),
    "the commit is in the path of a file that was downloaded": (r"extract_commit_hash"),
    "write the tool's schema as a dictionary, or pass the function itself to apply_chat_template": (r"get_json_schema"),
    "models that decide are not covered": (r"[Dd]ecision\w*"),
    "call Trainer.hyperparameter_search": (r"hyperparameter_search"),
    "everything here is PyTorch: use the class without the prefix": (r"TF[A-Z]\w+ Flax\w+"),
    "quantize the loaded model with torchao": (
        r"\w*(Bnb|FP8|Fp8|Higgs|Sinq|Quantiz|quantiz|Mxfp4|mxfp4|NVFP4|nvfp4|BitLinear|MetalLinear|GGUF)\w* "
        r"BitsAndBytesConfig GPTQConfig AwqConfig HqqConfig QuantoConfig TorchAoConfig EetqConfig AqlmConfig "
        r"(AutoRound|FPQuant|FourOverSix|Gguf|Metal|Quark|SpQR|Vptq|BitNetQuant|CompressedTensors)Config "
        r"replace_with_\w+ replace_quantization\w+ apply_srq dequantize_\w+ \w*pack_weights prepare_for_hqq\w* awq "
        r"aqlm bitnet bitsandbytes eetq fbgemm_fp8 ggml gemma_quant higgs hqq quanto sinq spqr vptq quantizers "
        r"AwqBackend AwqFormat ExllamaVersion VptqLayerConfig post_init_awq\w* validate_bnb\w* "
        r"check_torch_load_is_safe"
    ),
    "use AutoTokenizer for texts, and AutoImageProcessor for images": (
        r"AutoProcessor AutoFeatureExtractor \w*FeatureExtractor \w*Processor "
        r"(Text|Images|Videos|Audio|Processing)Kwargs ProcessorMixin FeatureExtractionMixin \w*FeatureExtractorType"
    ),
    "models of sounds and of moving pictures are not covered": (
        r"Audio\w+ AUDIO_\w+ VIDEO_\w+ audio_utils video_utils PreTrainedAudioTokenizerBase \w*VideoProcessor"
    ),
    "take the hidden_states of a model called with output_hidden_states=True": (r"\w*(Backbone|backbone)\w*"),
    "models for texts and for the classification of images are covered": (r"AutoModelFor\w+"),
    "there are tables of the Auto classes here": (
        r"MODEL_FOR_\w+ (FEATURE_EXTRACTOR|PROCESSOR|VIDEO_PROCESSOR)_MAPPING\w*"
    ),
    "AutoTokenizer and AutoImageProcessor choose by the files of a checkpoint": (
        r"(TOKENIZER|IMAGE_PROCESSOR)_MAPPING\w*"
    ),
    "only XLNet is trained with it, which is not covered": (r"DataCollatorForPermutationLanguageModeling"),
    "it is the output of families that are not covered": (
        r"(Moe|MoE|Seq2SeqMoE|SampleTS|Seq2SeqTS|Wav2Vec2|Seq2SeqSpectrogram)\w*Output\w* "
        r"(Depth|Semantic|ImageSuper)\w+Output XVectorOutput ImageClassifierOutputWithNoAttention"
    ),
    "it is the output of families that are not covered: take BaseModelOutputWithPastAndCrossAttentions": (
        r"BaseModelOutputWith(NoAttention|PoolingAndNoAttention|PoolingAndProjection|CrossAttentions)"
    ),
    "every model attends through minitransformers.nn.attention.attend, whose kernels are eager and sdpa": (
        r"eager_attention_forward repeat_kv ALL_ATTENTION_FUNCTIONS Attention(Mask)?Interface masking_utils"
    ),
    "rotary positions are minitransformers.models.base.rotary and minitransformers.nn.positions": (
        r"rotate_half apply_rotary_pos_emb RopeParameters ROPE_INIT_FUNCTIONS dynamic_rope_update "
        r"modeling_rope_utils"
    ),
    'call ACT2FN["gelu_new"] or another of its names': (
        r"ACT2CLS ACT_FNS ClassInstantier XIELUActivation \w+Activation GELUTanh PytorchGELUTanh gelu\w* mish silu"
    ),
    'call ACT2FN["quick_gelu"] or another of its names': (r"quick_gelu linear_act"),
    "each family has classes of its own": (r"GenericFor\w+ Mtp\w+ GPTNeoFlashAttention2 GPT_NEO_ATTENTION_CLASSES"),
    "the module is that of a family which has the same": (r"Dinov2(PatchEmbeddings|SwiGLUFFN) Qwen2RMSNorm"),
    "derive from PreTrainedModel": (r"ModuleUtilsMixin EmbeddingAccessMixin PeftAdapterMixin"),
    "use BartPreTrainedModel": (r"BartPretrainedModel PretrainedBartModel"),
    "a part of a model's own code": (r"create_sinusoidal_embeddings custom_unfold custom_get_block\w+ get_head_shapes"),
    "it serves the tests of transformers; minitransformers.testing has laws for models": (
        r"require_\w+ slow TestCasePlus Capture(Std|Stdout|Stderr) backend_\w+ mockenv\w*"
    ),
    "it serves the inner workings of transformers": (
        r"BatchRebalanceSampler InputDataClass LayerWiseDummy\w+ Pipeline(Dataset|Iterator|PackIterator) "
        r"get_(dataloader|tpu)_sampler is_attention_mask_causal nested_xla\w+ pad_without_fast\w+ reissue_pt_warnings "
        r"remove_dummy_checkpoint safe_globals set_rng_state_for_device "
        r"(DYNAMIC|STATIC)_LAYER\w+ ALLOWED_\w+ \w+CACHE_IMPLEMENTATIONS METADATA_FIELDS STOP_STRING\w+ "
        r"ALL_CACHE_NAMES get_layer_types_and_kwargs Specific\w+Type SubConfigSpec classproperty "
        r"layer_type_validation recursive_diff_dict remap_legacy\w+ wrap_init\w+ Scheduler "
        r"validate_stopping_criteria AssistantVocab\w+ SynthIDTextWatermarkState (Deferred)?StopCheck "
        r"GENERATION_MODES_MAPPING MULTIMODAL_\w+ DataClass\w* make_choice\w+ string_to_bool str_to_bool "
        r"convert_moe\w+ make_flex\w+ prevent_arange\w+ MIN_PEFT_VERSION maybe_\w+ LoadStateDictConfig "
        r"caching_allocator\w+ get_(state_dict_dtype|torch_context\w+|total_byte_count) is_accelerator_device "
        r"add_generation_mixin\w+ auto_class_update getattribute_from_module insert_head_doc DEPRECATED_MODELS "
        r"\w+_to_(model_type|module_name) DEFAULT_TO_PIL\w+ ALL_LAYERNORM\w+ compile_compatible\w+ id_tensor_storage "
        r"prune_linear_layer import_protobuf\w+ DEFAULT_(CALLBACKS|PROGRESS_CALLBACK) OPTIMIZER_NAME_BIN "
        r"trainer_log_levels CHAT_TEMPLATE_DIR DummyObject OptionalDependency\w+ PROCESSOR_NAME TransformersKwargs "
        r"can_return_tuple check_(peft_version|model_inputs) direct_transformers_import enable_tf32 filter_out\w+ "
        r"http_user_agent list_repo_templates no_inherit_decorator resolve_\w+ safe_load_json_file "
        r"torch_(compilable_check|float|int|only_method) filter_outputs\w+ GeneralInterface accepts_\w+ "
        r"(del|set)_attribute\w+ get_max_seqlen infer_framework\w+ is_flash_attention\w+ merge_with\w+ retry "
        r"split_(attention|package)\w+ DownloadKwargs create_and_tag\w+ BACKENDS_\w+ BASE_FILE\w+ Backend "
        r"IMPORT_STRUCTURE_T VersionComparison clear_import_cache (create|define|spread)_import\w+ fetch__all__ "
        r"requires debug_utils loss dependency_versions\w+ core_model_loading model_debugging_utils "
        r"model_addition_debugger\w+ time_series_utils modeling_flash_attention_utils "
        r"tokenization_utils_sentencepiece feature_extraction_sequence_utils processing_utils RemoveColumnsCollator "
        r"align_special_tokens check_target_module\w+ compare_trainer\w+ denumpify_detensorize rotate_checkpoints "
        r"sort_checkpoints suppress_progress_bars total_processes_number unwrap_peft_model slice_logits_to_keep "
        r"softmax_backward_data remove_tied_weights\w* str_to_torch_dtype local_torch_dtype WandbLogModel "
        r"default_logdir save_model_architecture_to_file integration_utils neftune\w* \w*activate_neftune "
        r"load_vocab\w* load_merges generate_merges find_sentencepiece_model_file get_tokenizer_config "
        r"CONFIG_TO_TYPE (Encoded|PreTokenized|Text)InputPair flatten tokenizer_class_from_name REGISTERED\w+ "
        r"MODELS?_\w*TOKENIZER\w* [A-Z0-9_]+_(IMPORT_ERROR|MIN_VERSION|MAX_VERSION|DUMMY_INPUTS) DUMMY_\w+ "
        r"USE_TORCH_XLA XLA_\w+ ENV_VARS_\w+ HF_MODULES_CACHE CLOUDFRONT_DISTRIB_PREFIX S3_BUCKET_PREFIX SESSION_ID "
        r"TRANSFORMERS_DYNAMIC\w+ LEGACY_\w+"
    ),
    "attention is PyTorch's scaled_dot_product_attention; compile the model for fused kernels": (
        r"kernelize KernelConfig \w*_kernel\w* use_experts\w* \w*experts_forward LayerRepository use_kernel\w*"
    ),
    "use minitransformers.training.parallelize under torchrun": (
        r"\w*(parallel|Parallel|shard|distribute|Distributed)\w* ALL_PARALLEL_STYLES fsdp FSDP\w* \w*_fsdp\w*"
    ),
    "use minitransformers.training.parallelize(model, 'fsdp')": (
        r"\w*(DeepSpeed|deepspeed|zero3)\w* propagate_args_to_deepspeed"
    ),
    "use torch.export, which takes every model": (
        r"TorchExportable\w* convert_and_export\w* executorch exporters onnx"
    ),
    "files have the names and shapes of the modules: there is nothing to convert": (
        r"\w*(Weight|Chunk|Concatenate|Conversion|Modulelist|PermuteForRope)\w* convert_slow\w* SLOW_TO_FAST\w*"
    ),
    'report_to takes "tensorboard", "wandb" and "jsonl": write a TrainerCallback for another service': (
        r"\w+Callback Neptune\w+ INTEGRATION_TO_CALLBACK \w*reporting_integration\w* rewrite_logs hp_params"
    ),
    "hyperparameter_search searches with optuna": (r"run_hp_search_\w+ default_hp_space_(ray|wandb)"),
    "get_scheduler has all other schedules, ReduceLROnPlateau among them": (
        r"GreedyLR get_greedy_schedule StreamingAverage TYPE_TO_SCHEDULER_FUNCTION"
    ),
    "compile the model: TrainingArguments(torch_compile=True)": (r"apply_liger_kernel liger"),
    "read torch.cuda.max_memory_allocated()": (r"TrainerMemoryTracker"),
    "tokenizers run on the Rust library: read minitransformers/tokenization/algorithms for the same in plain Python": (
        r"Trie ExtensionsTrie BasicTokenizer WordpieceTokenizer \w*TokenizerLegacy "
        r"(Python|SentencePiece|MistralCommon)Backend"
    ),
    "read the attributes of a tokenizer": (
        r"VOCAB_FILES_NAMES MAX_MODEL_INPUT_SIZES PRETOKENIZE_REGEX DEFAULT_SYSTEM_PROMPT TIKTOKEN\w* "
        r"MODEL_TO_TRAINER\w*"
    ),
    "use ViTImageProcessor, which needs no torchvision": (
        r"ViTImageProcessorPil PilBackend TorchvisionBackend ImageProcessingMixin BaseImageProcessor\w*"
    ),
    "images are read and resized by ViTImageProcessor": (
        r"Annotation\w+ \w*_coco_\w+ ImageFeatureExtractionMixin SizeDict ImageType INIT_SERVICE_KWARGS "
        r"VALID_SIZE\w+ (is|valid|validate|get|make|infer|convert)_\w*(image|size|channel)\w* "
        r"(get|max|select)_\w*(height|resolution)\w* get_image_type "
        r"validate_(annotations|kwargs|preprocess_arguments)"
    ),
    "open pictures with PIL.Image.open and pass them to ViTImageProcessor": (
        r"load_image\w* ImageInput ChannelDimension to_numpy_array is_batched max_across_indices concatenate_list "
        r"image_\w+"
    ),
    "`minitransformers fill-mask` and the other commands read files and standard input": (r"\w*PipelineDataFormat"),
    "it writes the documentation of transformers": (
        r"\w*(docstring|Docstring|DOCSTRING|_SAMPLE|_DISCLAIMER)\w* PT_\w+ MODELS_TO_PIPELINE copy_func ModelArgs "
        r"(ImageProcessor|ModelOutput)Args Class(Attrs|Docstring) get_args_doc\w* TypeHintParsing\w* set_min_indent"
    ),
    "compare with packaging.version.Version(package.__version__)": (
        r"is_\w+(_or_equal|_than|_greater|_platform|_gaudi1|_capturing|_usable)(_\w+)?"
    ),
    "it is a name of huggingface_hub": (
        r"EntryNotFoundError RepositoryNotFoundError RevisionNotFoundError try_to_load_from_cache hf_api"
    ),
    "write list(mapping.values())": (r"get_values"),
    "use cached_file for each name": (
        r"cached_files get_checkpoint_shard_files get_configuration_file get_fast_tokenizer_file "
        r"find_adapter_config\w*"
    ),
    "a repository's code is never run": (
        r"\w*(sagemaker|remote_code|dynamic_module|push_in_progress|PushInProgress)\w*"
    ),
    "it is a function of PyTorch": (
        r"meshgrid \w*is_torch_(deterministic|compiling|exporting)\w* is_tracing is_jit_tracing is_fake_tensor "
        r"move_to_device"
    ),
}

_SOMETHING_OF_A_FAMILY = r"[A-Z]\w*(Config|Model|For[A-Z]\w+|HeadsModel|Tokenizer|TokenizerFast|ImageProcessor\w*)"


def reason(name: str) -> str | None:
    """What to use in place of `name` of transformers, or why it is not here; None where nothing is said of it."""
    for said, patterns in NOT_HERE.items():
        if any(re.fullmatch(pattern, name) for pattern in patterns.split()):
            return said
    return None


def explanation(owner: str, name: str, public: Iterable[str]) -> str:
    """What to use in place of `name`, which `owner`, a module of this package, does not have."""
    if name in REMOVED_NAMES:
        return f"{name} was removed from transformers 5 and is not here either: use {REMOVED_NAMES[name]}."
    near = nearest(name, public)
    instead = reason(name)
    if instead is not None:
        return f"module {owner!r} has no attribute {name!r}: {instead}.{near}"
    if re.fullmatch(_SOMETHING_OF_A_FAMILY, name):
        near += " README.md lists the families that are covered."
    return f"module {owner!r} has no attribute {name!r}.{near or ' README.md lists the names that it has.'}"
