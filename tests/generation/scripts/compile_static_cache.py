"""A compiled model with a static cache: two graphs, of the prompt and of all other steps, and memory that stays."""

import torch
import torch._dynamo.testing

import minitransformers as mt

torch.manual_seed(0)
config = mt.GPT2Config(n_layer=2, n_head=2, n_embd=8, n_positions=40, vocab_size=23, bos_token_id=1, eos_token_id=2)
model = mt.GPT2LMHeadModel(config).eval()
counter = torch._dynamo.testing.CompileCounter()
compiled = torch.compile(model.forward, backend=counter)
static, grown = mt.StaticCache(config, max_cache_len=20), mt.DynamicCache()
static.early_initialization(1, 2, 4, torch.float32, "cpu")
addresses = [layer.keys.data_ptr() for layer in static.layers]
with torch.no_grad():
    for length in (7, *[1] * 8):
        ids = torch.randint(0, 23, (1, length))
        ours = compiled(ids, past_key_values=static).logits
        torch.testing.assert_close(ours, model(ids, past_key_values=grown).logits)
assert [layer.keys.data_ptr() for layer in static.layers] == addresses
assert static.get_seq_length() == 15
print(counter.frame_count, "graphs")
