"""torch.compile(fullgraph=True) and torch.export of one model of each family after GPT-2, against eager."""

import sys

import torch
from torch.export import Dim, export

import minitransformers as mt
from minitransformers.nn.cache import KeyValueCache
from minitransformers.testing.comparing import assert_close
from minitransformers.testing.weights import draw_weights

torch.set_num_threads(1)
SIZES = {
    "vocab_size": 13,
    "hidden_size": 16,
    "intermediate_size": 20,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "pad_token_id": 0,
}
WINDOW = {"use_sliding_window": True, "sliding_window": 3, "max_window_layers": 1, "num_key_value_heads": 2}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
NEO = {
    "vocab_size": 13,
    "hidden_size": 16,
    "num_layers": 2,
    "num_heads": 4,
    "window_size": 3,
    "attention_types": [[["global", "local"], 1]],
    "max_position_embeddings": 32,
}
FIELDS = {
    "LlamaForCausalLM": {**SIZES, "num_key_value_heads": 2, "rope_parameters": LLAMA3},
    "MistralForCausalLM": {**SIZES, "num_key_value_heads": 1, "sliding_window": 3},
    "Qwen2ForCausalLM": {**SIZES, **WINDOW},
    "GPTNeoForCausalLM": NEO,
    "GPTNeoXForCausalLM": SIZES,
    "ModernBertForMaskedLM": {**SIZES, "local_attention": 4},
}


def check(name):
    model_class = getattr(mt, name)
    model = draw_weights(model_class(model_class.config_class(**FIELDS[name])).double().eval(), 0)
    ids = torch.randint(1, 13, (2, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[1, 6:] = 0
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    for arguments in ({"attention_mask": mask, "labels": ids}, {}):
        expected, found = model(ids, **arguments), compiled(ids, **arguments)
        assert_close(found.logits, expected.logits)
    found.logits.square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    if "past_key_values" in expected:
        with torch.no_grad():
            cache = KeyValueCache(2, capacity=9)
            pieces = [compiled(ids[:, i : i + 1], past_key_values=cache, use_cache=True).logits for i in range(9)]
        assert_close(torch.cat(pieces, dim=1), expected.logits)
    length = Dim("length", min=4, max=24)
    kwargs = {
        "input_ids": ids,
        "attention_mask": mask,
        **({"use_cache": False} if "past_key_values" in expected else {}),
    }
    shapes = {
        "input_ids": {1: length},
        "attention_mask": {1: length},
        **({"use_cache": None} if len(kwargs) > 2 else {}),
    }
    exported = export(model, (), kwargs, dynamic_shapes=shapes).module()
    longer = {
        **kwargs,
        "input_ids": torch.cat([ids, ids], dim=1),
        "attention_mask": torch.ones(2, 18, dtype=torch.long),
    }
    assert_close(exported(**longer).logits, model(**longer).logits)


for name in sys.argv[1:]:
    check(name)
    torch.compiler.reset()
    print(name)
