"""Parameter-efficient fine-tuning: a frozen model with a few new parameters that are trained and saved alone.

    model = add_adapter(AutoModelForSequenceClassification.from_pretrained(…), LoraConfig(r=8, lora_alpha=16))
    print_trainable_parameters(model)
    …                                    # train as any other model
    save_adapter(model, "adapter")       # adapter_config.json and adapter_model.safetensors, which peft reads too

A method is a file, to be read beside its paper: lora.py, bottleneck.py, ia3.py, prefix_tuning.py, prompt_tuning.py.
attaching.py is what they share; files.py reads and writes. The methods `model.add_adapter` and `model.load_adapter`, as
in transformers, use the library peft; the functions here need no other library, and leave the names inside the model as
they are.
"""

from minitransformers.adapters.attaching import (
    add_adapter,
    merge_adapter,
    print_trainable_parameters,
    remove_adapter,
    trainable_parameters,
    unmerge_adapter,
)
from minitransformers.adapters.bottleneck import BottleneckConfig
from minitransformers.adapters.config import AdapterConfig
from minitransformers.adapters.files import load_adapter, save_adapter
from minitransformers.adapters.ia3 import IA3Config
from minitransformers.adapters.lora import LoraConfig
from minitransformers.adapters.prefix_tuning import PrefixTuningConfig
from minitransformers.adapters.prompt_tuning import PromptTuningConfig

__all__ = [
    "AdapterConfig",
    "BottleneckConfig",
    "IA3Config",
    "LoraConfig",
    "PrefixTuningConfig",
    "PromptTuningConfig",
    "add_adapter",
    "load_adapter",
    "merge_adapter",
    "print_trainable_parameters",
    "remove_adapter",
    "save_adapter",
    "trainable_parameters",
    "unmerge_adapter",
]
