"""The public names, each with the module that has it, for type checkers and editors; `__init__.py` fetches them."""

from minitransformers.auto import (
    CONFIG_MAPPING as CONFIG_MAPPING,
    MODEL_FOR_CAUSAL_LM_MAPPING as MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING as MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING,
    MODEL_FOR_MASKED_IMAGE_MODELING_MAPPING as MODEL_FOR_MASKED_IMAGE_MODELING_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING as MODEL_FOR_MASKED_LM_MAPPING,
    MODEL_FOR_MULTIPLE_CHOICE_MAPPING as MODEL_FOR_MULTIPLE_CHOICE_MAPPING,
    MODEL_FOR_NEXT_SENTENCE_PREDICTION_MAPPING as MODEL_FOR_NEXT_SENTENCE_PREDICTION_MAPPING,
    MODEL_FOR_PRETRAINING_MAPPING as MODEL_FOR_PRETRAINING_MAPPING,
    MODEL_FOR_QUESTION_ANSWERING_MAPPING as MODEL_FOR_QUESTION_ANSWERING_MAPPING,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING as MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING as MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    MODEL_FOR_TEXT_ENCODING_MAPPING as MODEL_FOR_TEXT_ENCODING_MAPPING,
    MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING as MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING,
    MODEL_MAPPING as MODEL_MAPPING,
    AutoConfig as AutoConfig,
    AutoModel as AutoModel,
    AutoModelForCausalLM as AutoModelForCausalLM,
    AutoModelForImageClassification as AutoModelForImageClassification,
    AutoModelForMaskedImageModeling as AutoModelForMaskedImageModeling,
    AutoModelForMaskedLM as AutoModelForMaskedLM,
    AutoModelForMultipleChoice as AutoModelForMultipleChoice,
    AutoModelForNextSentencePrediction as AutoModelForNextSentencePrediction,
    AutoModelForPreTraining as AutoModelForPreTraining,
    AutoModelForQuestionAnswering as AutoModelForQuestionAnswering,
    AutoModelForSeq2SeqLM as AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification as AutoModelForSequenceClassification,
    AutoModelForTextEncoding as AutoModelForTextEncoding,
    AutoModelForTokenClassification as AutoModelForTokenClassification,
)
from minitransformers.compat.helpers import (
    CONFIG_NAME as CONFIG_NAME,
    MODEL_CARD_NAME as MODEL_CARD_NAME,
    SPIECE_UNDERLINE as SPIECE_UNDERLINE,
    WEIGHTS_NAME as WEIGHTS_NAME,
    enable_full_determinism as enable_full_determinism,
    torch_distributed_zero_first as torch_distributed_zero_first,
)
from minitransformers.compat.layers import (
    Conv1D as Conv1D,
    apply_chunking_to_forward as apply_chunking_to_forward,
)
from minitransformers.compat.tokenizers_not_here import (
    M2M100Tokenizer as M2M100Tokenizer,
    MBart50Tokenizer as MBart50Tokenizer,
    MBart50TokenizerFast as MBart50TokenizerFast,
    MBartTokenizer as MBartTokenizer,
    MBartTokenizerFast as MBartTokenizerFast,
)
from minitransformers.configs.config import (
    Config as Config,
    PreTrainedConfig as PreTrainedConfig,
    PretrainedConfig as PretrainedConfig,
)
from minitransformers.data import (
    DataCollator as DataCollator,
    DataCollatorForLanguageModeling as DataCollatorForLanguageModeling,
    DataCollatorForMultipleChoice as DataCollatorForMultipleChoice,
    DataCollatorForSeq2Seq as DataCollatorForSeq2Seq,
    DataCollatorForTokenClassification as DataCollatorForTokenClassification,
    DataCollatorWithFlattening as DataCollatorWithFlattening,
    DataCollatorWithPadding as DataCollatorWithPadding,
    DefaultDataCollator as DefaultDataCollator,
    default_data_collator as default_data_collator,
)
from minitransformers.errors import (
    CheckpointError as CheckpointError,
    ConfigError as ConfigError,
    CorpusError as CorpusError,
    HubError as HubError,
    InputError as InputError,
    MinitransformersError as MinitransformersError,
    MissingFileError as MissingFileError,
    TokenizationError as TokenizationError,
    TrainingError as TrainingError,
    UnknownArgumentError as UnknownArgumentError,
    UnknownNameError as UnknownNameError,
)
from minitransformers.generation import (
    AsyncTextIteratorStreamer as AsyncTextIteratorStreamer,
    BaseStreamer as BaseStreamer,
    CompileConfig as CompileConfig,
    EncoderNoRepeatNGramLogitsProcessor as EncoderNoRepeatNGramLogitsProcessor,
    EncoderRepetitionPenaltyLogitsProcessor as EncoderRepetitionPenaltyLogitsProcessor,
    EosTokenCriteria as EosTokenCriteria,
    EpsilonLogitsWarper as EpsilonLogitsWarper,
    EtaLogitsWarper as EtaLogitsWarper,
    ExponentialDecayLengthPenalty as ExponentialDecayLengthPenalty,
    ForcedBOSTokenLogitsProcessor as ForcedBOSTokenLogitsProcessor,
    ForcedEOSTokenLogitsProcessor as ForcedEOSTokenLogitsProcessor,
    GenerateBeamDecoderOnlyOutput as GenerateBeamDecoderOnlyOutput,
    GenerateBeamEncoderDecoderOutput as GenerateBeamEncoderDecoderOutput,
    GenerateDecoderOnlyOutput as GenerateDecoderOnlyOutput,
    GenerateEncoderDecoderOutput as GenerateEncoderDecoderOutput,
    GenerationConfig as GenerationConfig,
    GenerationMixin as GenerationMixin,
    GenerationMode as GenerationMode,
    InfNanRemoveLogitsProcessor as InfNanRemoveLogitsProcessor,
    LogitNormalization as LogitNormalization,
    LogitsProcessor as LogitsProcessor,
    LogitsProcessorList as LogitsProcessorList,
    MaxLengthCriteria as MaxLengthCriteria,
    MaxTimeCriteria as MaxTimeCriteria,
    MinLengthLogitsProcessor as MinLengthLogitsProcessor,
    MinNewTokensLengthLogitsProcessor as MinNewTokensLengthLogitsProcessor,
    MinPLogitsWarper as MinPLogitsWarper,
    NoBadWordsLogitsProcessor as NoBadWordsLogitsProcessor,
    NoRepeatNGramLogitsProcessor as NoRepeatNGramLogitsProcessor,
    PrefixConstrainedLogitsProcessor as PrefixConstrainedLogitsProcessor,
    RepetitionPenaltyLogitsProcessor as RepetitionPenaltyLogitsProcessor,
    Search as Search,
    SequenceBiasLogitsProcessor as SequenceBiasLogitsProcessor,
    Step as Step,
    StoppingCriteria as StoppingCriteria,
    StoppingCriteriaList as StoppingCriteriaList,
    StopStringCriteria as StopStringCriteria,
    SuppressTokensAtBeginLogitsProcessor as SuppressTokensAtBeginLogitsProcessor,
    SuppressTokensLogitsProcessor as SuppressTokensLogitsProcessor,
    SynthIDTextWatermarkingConfig as SynthIDTextWatermarkingConfig,
    SynthIDTextWatermarkLogitsProcessor as SynthIDTextWatermarkLogitsProcessor,
    TemperatureLogitsWarper as TemperatureLogitsWarper,
    TextIteratorStreamer as TextIteratorStreamer,
    TextStreamer as TextStreamer,
    TopHLogitsWarper as TopHLogitsWarper,
    TopKLogitsWarper as TopKLogitsWarper,
    TopPLogitsWarper as TopPLogitsWarper,
    TypicalLogitsWarper as TypicalLogitsWarper,
    UnbatchedClassifierFreeGuidanceLogitsProcessor as UnbatchedClassifierFreeGuidanceLogitsProcessor,
    WatermarkDetector as WatermarkDetector,
    WatermarkingConfig as WatermarkingConfig,
    WatermarkLogitsProcessor as WatermarkLogitsProcessor,
    set_seed as set_seed,
)
from minitransformers.images.processor import (
    AutoImageProcessor as AutoImageProcessor,
    BatchFeature as BatchFeature,
    ViTImageProcessor as ViTImageProcessor,
)
from minitransformers.models.albert import (
    AlbertConfig as AlbertConfig,
    AlbertForMaskedLM as AlbertForMaskedLM,
    AlbertForMultipleChoice as AlbertForMultipleChoice,
    AlbertForPreTraining as AlbertForPreTraining,
    AlbertForQuestionAnswering as AlbertForQuestionAnswering,
    AlbertForSequenceClassification as AlbertForSequenceClassification,
    AlbertForTokenClassification as AlbertForTokenClassification,
    AlbertModel as AlbertModel,
    AlbertPreTrainedModel as AlbertPreTrainedModel,
)
from minitransformers.models.bart import (
    BartConfig as BartConfig,
    BartForCausalLM as BartForCausalLM,
    BartForConditionalGeneration as BartForConditionalGeneration,
    BartForQuestionAnswering as BartForQuestionAnswering,
    BartForSequenceClassification as BartForSequenceClassification,
    BartModel as BartModel,
    BartPreTrainedModel as BartPreTrainedModel,
)
from minitransformers.models.base.checkpointing import (
    GradientCheckpointingLayer as GradientCheckpointingLayer,
)
from minitransformers.models.base.pretrained import (
    PreTrainedModel as PreTrainedModel,
)
from minitransformers.models.bert import (
    BertConfig as BertConfig,
    BertForMaskedLM as BertForMaskedLM,
    BertForMultipleChoice as BertForMultipleChoice,
    BertForNextSentencePrediction as BertForNextSentencePrediction,
    BertForPreTraining as BertForPreTraining,
    BertForQuestionAnswering as BertForQuestionAnswering,
    BertForSequenceClassification as BertForSequenceClassification,
    BertForTokenClassification as BertForTokenClassification,
    BertLayer as BertLayer,
    BertLMHeadModel as BertLMHeadModel,
    BertModel as BertModel,
    BertPreTrainedModel as BertPreTrainedModel,
)
from minitransformers.models.dinov2 import (
    Dinov2Config as Dinov2Config,
    Dinov2ForImageClassification as Dinov2ForImageClassification,
    Dinov2Model as Dinov2Model,
    Dinov2PreTrainedModel as Dinov2PreTrainedModel,
)
from minitransformers.models.distilbert import (
    DistilBertConfig as DistilBertConfig,
    DistilBertForMaskedLM as DistilBertForMaskedLM,
    DistilBertForMultipleChoice as DistilBertForMultipleChoice,
    DistilBertForQuestionAnswering as DistilBertForQuestionAnswering,
    DistilBertForSequenceClassification as DistilBertForSequenceClassification,
    DistilBertForTokenClassification as DistilBertForTokenClassification,
    DistilBertModel as DistilBertModel,
    DistilBertPreTrainedModel as DistilBertPreTrainedModel,
)
from minitransformers.models.electra import (
    ElectraConfig as ElectraConfig,
    ElectraForCausalLM as ElectraForCausalLM,
    ElectraForMaskedLM as ElectraForMaskedLM,
    ElectraForMultipleChoice as ElectraForMultipleChoice,
    ElectraForPreTraining as ElectraForPreTraining,
    ElectraForQuestionAnswering as ElectraForQuestionAnswering,
    ElectraForSequenceClassification as ElectraForSequenceClassification,
    ElectraForTokenClassification as ElectraForTokenClassification,
    ElectraModel as ElectraModel,
    ElectraPreTrainedModel as ElectraPreTrainedModel,
)
from minitransformers.models.gpt2 import (
    GPT2Config as GPT2Config,
    GPT2DoubleHeadsModel as GPT2DoubleHeadsModel,
    GPT2ForQuestionAnswering as GPT2ForQuestionAnswering,
    GPT2ForSequenceClassification as GPT2ForSequenceClassification,
    GPT2ForTokenClassification as GPT2ForTokenClassification,
    GPT2LMHeadModel as GPT2LMHeadModel,
    GPT2Model as GPT2Model,
    GPT2PreTrainedModel as GPT2PreTrainedModel,
)
from minitransformers.models.gpt_neo import (
    GPTNeoConfig as GPTNeoConfig,
    GPTNeoForCausalLM as GPTNeoForCausalLM,
    GPTNeoForQuestionAnswering as GPTNeoForQuestionAnswering,
    GPTNeoForSequenceClassification as GPTNeoForSequenceClassification,
    GPTNeoForTokenClassification as GPTNeoForTokenClassification,
    GPTNeoModel as GPTNeoModel,
    GPTNeoPreTrainedModel as GPTNeoPreTrainedModel,
)
from minitransformers.models.gpt_neox import (
    GPTNeoXConfig as GPTNeoXConfig,
    GPTNeoXForCausalLM as GPTNeoXForCausalLM,
    GPTNeoXForQuestionAnswering as GPTNeoXForQuestionAnswering,
    GPTNeoXForSequenceClassification as GPTNeoXForSequenceClassification,
    GPTNeoXForTokenClassification as GPTNeoXForTokenClassification,
    GPTNeoXLayer as GPTNeoXLayer,
    GPTNeoXModel as GPTNeoXModel,
    GPTNeoXPreTrainedModel as GPTNeoXPreTrainedModel,
)
from minitransformers.models.llama import (
    LlamaConfig as LlamaConfig,
    LlamaForCausalLM as LlamaForCausalLM,
    LlamaForQuestionAnswering as LlamaForQuestionAnswering,
    LlamaForSequenceClassification as LlamaForSequenceClassification,
    LlamaForTokenClassification as LlamaForTokenClassification,
    LlamaModel as LlamaModel,
    LlamaPreTrainedModel as LlamaPreTrainedModel,
)
from minitransformers.models.mistral import (
    MistralConfig as MistralConfig,
    MistralForCausalLM as MistralForCausalLM,
    MistralForQuestionAnswering as MistralForQuestionAnswering,
    MistralForSequenceClassification as MistralForSequenceClassification,
    MistralForTokenClassification as MistralForTokenClassification,
    MistralModel as MistralModel,
    MistralPreTrainedModel as MistralPreTrainedModel,
)
from minitransformers.models.modernbert import (
    ModernBertConfig as ModernBertConfig,
    ModernBertForMaskedLM as ModernBertForMaskedLM,
    ModernBertForMultipleChoice as ModernBertForMultipleChoice,
    ModernBertForQuestionAnswering as ModernBertForQuestionAnswering,
    ModernBertForSequenceClassification as ModernBertForSequenceClassification,
    ModernBertForTokenClassification as ModernBertForTokenClassification,
    ModernBertModel as ModernBertModel,
    ModernBertPreTrainedModel as ModernBertPreTrainedModel,
)
from minitransformers.models.openai_gpt import (
    OpenAIGPTConfig as OpenAIGPTConfig,
    OpenAIGPTDoubleHeadsModel as OpenAIGPTDoubleHeadsModel,
    OpenAIGPTForSequenceClassification as OpenAIGPTForSequenceClassification,
    OpenAIGPTLMHeadModel as OpenAIGPTLMHeadModel,
    OpenAIGPTModel as OpenAIGPTModel,
    OpenAIGPTPreTrainedModel as OpenAIGPTPreTrainedModel,
)
from minitransformers.models.qwen2 import (
    Qwen2Config as Qwen2Config,
    Qwen2ForCausalLM as Qwen2ForCausalLM,
    Qwen2ForQuestionAnswering as Qwen2ForQuestionAnswering,
    Qwen2ForSequenceClassification as Qwen2ForSequenceClassification,
    Qwen2ForTokenClassification as Qwen2ForTokenClassification,
    Qwen2Model as Qwen2Model,
    Qwen2PreTrainedModel as Qwen2PreTrainedModel,
)
from minitransformers.models.roberta import (
    RobertaConfig as RobertaConfig,
    RobertaForCausalLM as RobertaForCausalLM,
    RobertaForMaskedLM as RobertaForMaskedLM,
    RobertaForMultipleChoice as RobertaForMultipleChoice,
    RobertaForQuestionAnswering as RobertaForQuestionAnswering,
    RobertaForSequenceClassification as RobertaForSequenceClassification,
    RobertaForTokenClassification as RobertaForTokenClassification,
    RobertaModel as RobertaModel,
    RobertaPreTrainedModel as RobertaPreTrainedModel,
)
from minitransformers.models.t5 import (
    T5Config as T5Config,
    T5EncoderModel as T5EncoderModel,
    T5ForConditionalGeneration as T5ForConditionalGeneration,
    T5ForQuestionAnswering as T5ForQuestionAnswering,
    T5ForSequenceClassification as T5ForSequenceClassification,
    T5ForTokenClassification as T5ForTokenClassification,
    T5Model as T5Model,
    T5PreTrainedModel as T5PreTrainedModel,
)
from minitransformers.models.transformer import (
    TransformerConfig as TransformerConfig,
    TransformerForConditionalGeneration as TransformerForConditionalGeneration,
    TransformerModel as TransformerModel,
    TransformerPreTrainedModel as TransformerPreTrainedModel,
)
from minitransformers.models.vit import (
    ViTConfig as ViTConfig,
    ViTForImageClassification as ViTForImageClassification,
    ViTForMaskedImageModeling as ViTForMaskedImageModeling,
    ViTModel as ViTModel,
    ViTPreTrainedModel as ViTPreTrainedModel,
)
from minitransformers.models.xlm_roberta import (
    XLMRobertaConfig as XLMRobertaConfig,
    XLMRobertaForCausalLM as XLMRobertaForCausalLM,
    XLMRobertaForMaskedLM as XLMRobertaForMaskedLM,
    XLMRobertaForMultipleChoice as XLMRobertaForMultipleChoice,
    XLMRobertaForQuestionAnswering as XLMRobertaForQuestionAnswering,
    XLMRobertaForSequenceClassification as XLMRobertaForSequenceClassification,
    XLMRobertaForTokenClassification as XLMRobertaForTokenClassification,
    XLMRobertaModel as XLMRobertaModel,
    XLMRobertaPreTrainedModel as XLMRobertaPreTrainedModel,
)
from minitransformers.nn.cache import (
    Cache as Cache,
    DynamicCache as DynamicCache,
    DynamicLayer as DynamicLayer,
    EncoderDecoderCache as EncoderDecoderCache,
)
from minitransformers.nn.static_cache import StaticCache as StaticCache, StaticLayer as StaticLayer
from minitransformers.pipelines import (
    FeatureExtractionPipeline as FeatureExtractionPipeline,
    FillMaskPipeline as FillMaskPipeline,
    ImageClassificationPipeline as ImageClassificationPipeline,
    ImageFeatureExtractionPipeline as ImageFeatureExtractionPipeline,
    NerPipeline as NerPipeline,
    Pipeline as Pipeline,
    PipelineException as PipelineException,
    QuestionAnsweringPipeline as QuestionAnsweringPipeline,
    SemanticSearchPipeline as SemanticSearchPipeline,
    SentenceEmbeddingPipeline as SentenceEmbeddingPipeline,
    SentenceSimilarityPipeline as SentenceSimilarityPipeline,
    SummarizationPipeline as SummarizationPipeline,
    Text2TextGenerationPipeline as Text2TextGenerationPipeline,
    TextClassificationPipeline as TextClassificationPipeline,
    TextGenerationPipeline as TextGenerationPipeline,
    TokenClassificationPipeline as TokenClassificationPipeline,
    TranslationPipeline as TranslationPipeline,
    ZeroShotClassificationPipeline as ZeroShotClassificationPipeline,
    pipeline as pipeline,
)
from minitransformers.tokenization import (
    AddedToken as AddedToken,
    AlbertTokenizer as AlbertTokenizer,
    AlbertTokenizerFast as AlbertTokenizerFast,
    AutoTokenizer as AutoTokenizer,
    BartTokenizer as BartTokenizer,
    BartTokenizerFast as BartTokenizerFast,
    BatchEncoding as BatchEncoding,
    BertTokenizer as BertTokenizer,
    BertTokenizerFast as BertTokenizerFast,
    CharSpan as CharSpan,
    DistilBertTokenizer as DistilBertTokenizer,
    DistilBertTokenizerFast as DistilBertTokenizerFast,
    ElectraTokenizer as ElectraTokenizer,
    ElectraTokenizerFast as ElectraTokenizerFast,
    GPT2Tokenizer as GPT2Tokenizer,
    GPT2TokenizerFast as GPT2TokenizerFast,
    GPTNeoXTokenizer as GPTNeoXTokenizer,
    GPTNeoXTokenizerFast as GPTNeoXTokenizerFast,
    LlamaTokenizer as LlamaTokenizer,
    LlamaTokenizerFast as LlamaTokenizerFast,
    OpenAIGPTTokenizer as OpenAIGPTTokenizer,
    OpenAIGPTTokenizerFast as OpenAIGPTTokenizerFast,
    PreTrainedTokenizer as PreTrainedTokenizer,
    PreTrainedTokenizerBase as PreTrainedTokenizerBase,
    PreTrainedTokenizerFast as PreTrainedTokenizerFast,
    Qwen2Tokenizer as Qwen2Tokenizer,
    Qwen2TokenizerFast as Qwen2TokenizerFast,
    RobertaTokenizer as RobertaTokenizer,
    RobertaTokenizerFast as RobertaTokenizerFast,
    T5Tokenizer as T5Tokenizer,
    T5TokenizerFast as T5TokenizerFast,
    TensorType as TensorType,
    TokenSpan as TokenSpan,
    XLMRobertaTokenizer as XLMRobertaTokenizer,
    XLMRobertaTokenizerFast as XLMRobertaTokenizerFast,
)
from minitransformers.training.loop.adafactor import (
    Adafactor as Adafactor,
    AdafactorSchedule as AdafactorSchedule,
    get_adafactor_schedule as get_adafactor_schedule,
)
from minitransformers.training.loop.schedules import (
    SchedulerType as SchedulerType,
    get_constant_schedule as get_constant_schedule,
    get_constant_schedule_with_warmup as get_constant_schedule_with_warmup,
    get_cosine_schedule_with_warmup as get_cosine_schedule_with_warmup,
    get_cosine_with_hard_restarts_schedule_with_warmup as get_cosine_with_hard_restarts_schedule_with_warmup,
    get_cosine_with_min_lr_schedule_with_warmup as get_cosine_with_min_lr_schedule_with_warmup,
    get_cosine_with_min_lr_schedule_with_warmup_lr_rate as get_cosine_with_min_lr_schedule_with_warmup_lr_rate,
    get_inverse_sqrt_schedule as get_inverse_sqrt_schedule,
    get_linear_schedule_with_warmup as get_linear_schedule_with_warmup,
    get_polynomial_decay_schedule_with_warmup as get_polynomial_decay_schedule_with_warmup,
    get_reduce_on_plateau_schedule as get_reduce_on_plateau_schedule,
    get_scheduler as get_scheduler,
    get_wsd_schedule as get_wsd_schedule,
)
from minitransformers.training.trainer.argument_parser import (
    HfArg as HfArg,
    HfArgumentParser as HfArgumentParser,
)
from minitransformers.training.trainer.arguments import (
    IntervalStrategy as IntervalStrategy,
    SaveStrategy as SaveStrategy,
    TrainingArguments as TrainingArguments,
)
from minitransformers.training.trainer.callbacks import (
    TrainerCallback as TrainerCallback,
    TrainerControl as TrainerControl,
    TrainerState as TrainerState,
)
from minitransformers.training.trainer.predictions import (
    EvalPrediction as EvalPrediction,
    PredictionOutput as PredictionOutput,
    TrainOutput as TrainOutput,
)
from minitransformers.training.trainer.seq2seq import (
    Seq2SeqTrainer as Seq2SeqTrainer,
    Seq2SeqTrainingArguments as Seq2SeqTrainingArguments,
)
from minitransformers.training.trainer.standard_callbacks import (
    DefaultFlowCallback as DefaultFlowCallback,
    EarlyStoppingCallback as EarlyStoppingCallback,
    PrinterCallback as PrinterCallback,
    ProgressCallback as ProgressCallback,
)
from minitransformers.training.trainer.trainer import (
    Trainer as Trainer,
)
from minitransformers.utils import (
    logging as logging,
)
from minitransformers.utils.availability import (
    is_apex_available as is_apex_available,
    is_bitsandbytes_available as is_bitsandbytes_available,
    is_clearml_available as is_clearml_available,
    is_comet_available as is_comet_available,
    is_datasets_available as is_datasets_available,
    is_faiss_available as is_faiss_available,
    is_matplotlib_available as is_matplotlib_available,
    is_optuna_available as is_optuna_available,
    is_psutil_available as is_psutil_available,
    is_ray_available as is_ray_available,
    is_scipy_available as is_scipy_available,
    is_sentencepiece_available as is_sentencepiece_available,
    is_sklearn_available as is_sklearn_available,
    is_tensorboard_available as is_tensorboard_available,
    is_timm_available as is_timm_available,
    is_tokenizers_available as is_tokenizers_available,
    is_torch_available as is_torch_available,
    is_torch_hpu_available as is_torch_hpu_available,
    is_torch_mlu_available as is_torch_mlu_available,
    is_torch_musa_available as is_torch_musa_available,
    is_torch_npu_available as is_torch_npu_available,
    is_torch_xla_available as is_torch_xla_available,
    is_torch_xpu_available as is_torch_xpu_available,
    is_torchvision_available as is_torchvision_available,
    is_trackio_available as is_trackio_available,
    is_vision_available as is_vision_available,
    is_wandb_available as is_wandb_available,
)

__version__: str
__all__: list[str]
PUBLIC: dict[str, str]
REMOVED_NAMES: dict[str, str]
