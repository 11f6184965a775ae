"""The transformers API that you know, in PyTorch code that you can read end to end.

    from minitransformers import AutoModel, AutoTokenizer

README.md gives the order in which to read the source. `PUBLIC` lists what can be imported; a name is fetched from its
module when it is first used, so that nobody waits for what they do not use. `__init__.pyi` says the same to type
checkers and editors.
"""

import os
from importlib import import_module
from typing import Any

from minitransformers.compat.finder import MissingNameError, install
from minitransformers.compat.names import REMOVED_NAMES as REMOVED_NAMES, explanation

__version__ = "0.1.0"

# Module -> the public names that it has
PUBLIC = {
    "auto": (
        "AutoConfig AutoModel AutoModelForCausalLM AutoModelForImageClassification AutoModelForMaskedImageModeling "
        "AutoModelForMaskedLM AutoModelForMultipleChoice AutoModelForNextSentencePrediction AutoModelForPreTraining "
        "AutoModelForQuestionAnswering AutoModelForSeq2SeqLM AutoModelForSequenceClassification "
        "AutoModelForTextEncoding AutoModelForTokenClassification CONFIG_MAPPING MODEL_FOR_CAUSAL_LM_MAPPING "
        "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING MODEL_FOR_MASKED_IMAGE_MODELING_MAPPING MODEL_FOR_MASKED_LM_MAPPING "
        "MODEL_FOR_MULTIPLE_CHOICE_MAPPING MODEL_FOR_NEXT_SENTENCE_PREDICTION_MAPPING MODEL_FOR_PRETRAINING_MAPPING "
        "MODEL_FOR_QUESTION_ANSWERING_MAPPING MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING "
        "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING MODEL_FOR_TEXT_ENCODING_MAPPING "
        "MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING MODEL_MAPPING"
    ),
    "compat.helpers": (
        "CONFIG_NAME enable_full_determinism MODEL_CARD_NAME SPIECE_UNDERLINE torch_distributed_zero_first WEIGHTS_NAME"
    ),
    "compat.layers": "apply_chunking_to_forward Conv1D",
    "compat.tokenizers_not_here": (
        "M2M100Tokenizer MBart50Tokenizer MBart50TokenizerFast MBartTokenizer MBartTokenizerFast"
    ),
    "configs.config": "Config PreTrainedConfig PretrainedConfig",
    "data": (
        "DataCollator DataCollatorForLanguageModeling DataCollatorForMultipleChoice DataCollatorForSeq2Seq "
        "DataCollatorForTokenClassification DataCollatorWithFlattening DataCollatorWithPadding default_data_collator "
        "DefaultDataCollator"
    ),
    "errors": (
        "CheckpointError ConfigError CorpusError HubError InputError MinitransformersError MissingFileError "
        "TokenizationError TrainingError UnknownArgumentError UnknownNameError"
    ),
    "generation": (
        "AsyncTextIteratorStreamer BaseStreamer CompileConfig EncoderNoRepeatNGramLogitsProcessor "
        "EncoderRepetitionPenaltyLogitsProcessor EosTokenCriteria EpsilonLogitsWarper EtaLogitsWarper "
        "ExponentialDecayLengthPenalty ForcedBOSTokenLogitsProcessor ForcedEOSTokenLogitsProcessor "
        "GenerateBeamDecoderOnlyOutput GenerateBeamEncoderDecoderOutput GenerateDecoderOnlyOutput "
        "GenerateEncoderDecoderOutput GenerationConfig GenerationMixin GenerationMode InfNanRemoveLogitsProcessor "
        "LogitNormalization LogitsProcessor LogitsProcessorList MaxLengthCriteria MaxTimeCriteria "
        "MinLengthLogitsProcessor MinNewTokensLengthLogitsProcessor MinPLogitsWarper NoBadWordsLogitsProcessor "
        "NoRepeatNGramLogitsProcessor PrefixConstrainedLogitsProcessor RepetitionPenaltyLogitsProcessor Search "
        "SequenceBiasLogitsProcessor set_seed Step StoppingCriteria StoppingCriteriaList StopStringCriteria "
        "SuppressTokensAtBeginLogitsProcessor SuppressTokensLogitsProcessor SynthIDTextWatermarkingConfig "
        "SynthIDTextWatermarkLogitsProcessor TemperatureLogitsWarper TextIteratorStreamer TextStreamer "
        "TopHLogitsWarper TopKLogitsWarper TopPLogitsWarper TypicalLogitsWarper "
        "UnbatchedClassifierFreeGuidanceLogitsProcessor WatermarkDetector WatermarkingConfig "
        "WatermarkLogitsProcessor"
    ),
    "images.processor": "AutoImageProcessor BatchFeature ViTImageProcessor",
    "models.albert": (
        "AlbertConfig AlbertForMaskedLM AlbertForMultipleChoice AlbertForPreTraining AlbertForQuestionAnswering "
        "AlbertForSequenceClassification AlbertForTokenClassification AlbertModel AlbertPreTrainedModel"
    ),
    "models.bart": (
        "BartConfig BartForCausalLM BartForConditionalGeneration BartForQuestionAnswering "
        "BartForSequenceClassification BartModel BartPreTrainedModel"
    ),
    "models.base.checkpointing": "GradientCheckpointingLayer",
    "models.base.pretrained": "PreTrainedModel",
    "models.bert": (
        "BertConfig BertForMaskedLM BertForMultipleChoice BertForNextSentencePrediction BertForPreTraining "
        "BertForQuestionAnswering BertForSequenceClassification BertForTokenClassification BertLayer BertLMHeadModel "
        "BertModel BertPreTrainedModel"
    ),
    "models.dinov2": "Dinov2Config Dinov2ForImageClassification Dinov2Model Dinov2PreTrainedModel",
    "models.distilbert": (
        "DistilBertConfig DistilBertForMaskedLM DistilBertForMultipleChoice DistilBertForQuestionAnswering "
        "DistilBertForSequenceClassification DistilBertForTokenClassification DistilBertModel "
        "DistilBertPreTrainedModel"
    ),
    "models.electra": (
        "ElectraConfig ElectraForCausalLM ElectraForMaskedLM ElectraForMultipleChoice ElectraForPreTraining "
        "ElectraForQuestionAnswering ElectraForSequenceClassification ElectraForTokenClassification ElectraModel "
        "ElectraPreTrainedModel"
    ),
    "models.gpt2": (
        "GPT2Config GPT2DoubleHeadsModel GPT2ForQuestionAnswering GPT2ForSequenceClassification "
        "GPT2ForTokenClassification GPT2LMHeadModel GPT2Model GPT2PreTrainedModel"
    ),
    "models.gpt_neo": (
        "GPTNeoConfig GPTNeoForCausalLM GPTNeoForQuestionAnswering GPTNeoForSequenceClassification "
        "GPTNeoForTokenClassification GPTNeoModel GPTNeoPreTrainedModel"
    ),
    "models.gpt_neox": (
        "GPTNeoXConfig GPTNeoXForCausalLM GPTNeoXForQuestionAnswering GPTNeoXForSequenceClassification "
        "GPTNeoXForTokenClassification GPTNeoXLayer GPTNeoXModel GPTNeoXPreTrainedModel"
    ),
    "models.llama": (
        "LlamaConfig LlamaForCausalLM LlamaForQuestionAnswering LlamaForSequenceClassification "
        "LlamaForTokenClassification LlamaModel LlamaPreTrainedModel"
    ),
    "models.mistral": (
        "MistralConfig MistralForCausalLM MistralForQuestionAnswering MistralForSequenceClassification "
        "MistralForTokenClassification MistralModel MistralPreTrainedModel"
    ),
    "models.modernbert": (
        "ModernBertConfig ModernBertForMaskedLM ModernBertForMultipleChoice ModernBertForQuestionAnswering "
        "ModernBertForSequenceClassification ModernBertForTokenClassification ModernBertModel "
        "ModernBertPreTrainedModel"
    ),
    "models.openai_gpt": (
        "OpenAIGPTConfig OpenAIGPTDoubleHeadsModel OpenAIGPTForSequenceClassification OpenAIGPTLMHeadModel "
        "OpenAIGPTModel OpenAIGPTPreTrainedModel"
    ),
    "models.qwen2": (
        "Qwen2Config Qwen2ForCausalLM Qwen2ForQuestionAnswering Qwen2ForSequenceClassification "
        "Qwen2ForTokenClassification Qwen2Model Qwen2PreTrainedModel"
    ),
    "models.roberta": (
        "RobertaConfig RobertaForCausalLM RobertaForMaskedLM RobertaForMultipleChoice RobertaForQuestionAnswering "
        "RobertaForSequenceClassification RobertaForTokenClassification RobertaModel RobertaPreTrainedModel"
    ),
    "models.t5": (
        "T5Config T5EncoderModel T5ForConditionalGeneration T5ForQuestionAnswering T5ForSequenceClassification "
        "T5ForTokenClassification T5Model T5PreTrainedModel"
    ),
    "models.transformer": (
        "TransformerConfig TransformerForConditionalGeneration TransformerModel TransformerPreTrainedModel"
    ),
    "models.vit": "ViTConfig ViTForImageClassification ViTForMaskedImageModeling ViTModel ViTPreTrainedModel",
    "models.xlm_roberta": (
        "XLMRobertaConfig XLMRobertaForCausalLM XLMRobertaForMaskedLM XLMRobertaForMultipleChoice "
        "XLMRobertaForQuestionAnswering XLMRobertaForSequenceClassification XLMRobertaForTokenClassification "
        "XLMRobertaModel XLMRobertaPreTrainedModel"
    ),
    "nn.cache": "Cache DynamicCache DynamicLayer EncoderDecoderCache",
    "nn.static_cache": "StaticCache StaticLayer",
    "pipelines": (
        "FeatureExtractionPipeline FillMaskPipeline ImageClassificationPipeline ImageFeatureExtractionPipeline "
        "NerPipeline pipeline Pipeline PipelineException QuestionAnsweringPipeline SemanticSearchPipeline "
        "SentenceEmbeddingPipeline SentenceSimilarityPipeline SummarizationPipeline Text2TextGenerationPipeline "
        "TextClassificationPipeline TextGenerationPipeline TokenClassificationPipeline TranslationPipeline "
        "ZeroShotClassificationPipeline"
    ),
    "tokenization": (
        "AddedToken AlbertTokenizer AlbertTokenizerFast AutoTokenizer BartTokenizer BartTokenizerFast BatchEncoding "
        "BertTokenizer BertTokenizerFast CharSpan DistilBertTokenizer DistilBertTokenizerFast ElectraTokenizer "
        "ElectraTokenizerFast GPT2Tokenizer GPT2TokenizerFast GPTNeoXTokenizer GPTNeoXTokenizerFast LlamaTokenizer "
        "LlamaTokenizerFast OpenAIGPTTokenizer OpenAIGPTTokenizerFast PreTrainedTokenizer PreTrainedTokenizerBase "
        "PreTrainedTokenizerFast Qwen2Tokenizer Qwen2TokenizerFast RobertaTokenizer RobertaTokenizerFast T5Tokenizer "
        "T5TokenizerFast TensorType TokenizersBackend TokenSpan XLMRobertaTokenizer XLMRobertaTokenizerFast"
    ),
    "training.loop.adafactor": "Adafactor AdafactorSchedule get_adafactor_schedule",
    "training.loop.schedules": (
        "get_constant_schedule get_constant_schedule_with_warmup get_cosine_schedule_with_warmup "
        "get_cosine_with_hard_restarts_schedule_with_warmup get_cosine_with_min_lr_schedule_with_warmup "
        "get_cosine_with_min_lr_schedule_with_warmup_lr_rate get_inverse_sqrt_schedule "
        "get_linear_schedule_with_warmup get_polynomial_decay_schedule_with_warmup get_reduce_on_plateau_schedule "
        "get_scheduler get_wsd_schedule SchedulerType"
    ),
    "training.trainer.argument_parser": "HfArg HfArgumentParser",
    "training.trainer.arguments": "IntervalStrategy SaveStrategy TrainingArguments",
    "training.trainer.callbacks": "TrainerCallback TrainerControl TrainerState",
    "training.trainer.predictions": "EvalPrediction PredictionOutput TrainOutput",
    "training.trainer.seq2seq": "Seq2SeqTrainer Seq2SeqTrainingArguments",
    "training.trainer.standard_callbacks": "DefaultFlowCallback EarlyStoppingCallback PrinterCallback ProgressCallback",
    "training.trainer.trainer": "Trainer",
    "utils": "logging",
    "utils.availability": (
        "is_apex_available is_av_available is_bitsandbytes_available is_clearml_available is_comet_available "
        "is_datasets_available is_dvclive_available is_faiss_available is_matplotlib_available is_mlx_available "
        "is_neptune_available is_optuna_available is_phonemizer_available is_psutil_available is_py3nvml_available "
        "is_pyctcdecode_available is_ray_available is_ray_tune_available is_sacremoses_available is_scipy_available "
        "is_sentencepiece_available is_sklearn_available is_speech_available is_swanlab_available "
        "is_tensorboard_available is_timm_available is_tokenizers_available is_torch_available "
        "is_torch_hpu_available is_torch_mlu_available is_torch_musa_available is_torch_neuroncore_available "
        "is_torch_npu_available is_torch_xla_available is_torch_xpu_available is_torchvision_available "
        "is_trackio_available is_vision_available is_wandb_available requires_backends"
    ),
}
_MODULES = {name: module for module, names in PUBLIC.items() for name in names.split()}
__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        return value
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return import_module(f"{__name__}.{name}")  # a module, as in `minitransformers.nn.MultiHeadAttention`
    except MissingNameError:
        raise AttributeError(explanation(__name__, name, __all__)) from None


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})


install(lambda: __all__)
if os.environ.get("MINITRANSFORMERS_VERBOSITY"):
    import_module("minitransformers.utils.logging")  # which reads it
