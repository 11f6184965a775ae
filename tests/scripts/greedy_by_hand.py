"""Greedy decoding written out: with the cache of keys and values each step computes one token."""

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("tiny-gpt2")
model = AutoModelForCausalLM.from_pretrained("tiny-gpt2").eval()

input_ids = tokenizer("In a distant galaxy", return_tensors="pt").input_ids
generated = input_ids
past_key_values = None
with torch.no_grad():
    for _ in range(8):
        current = generated if past_key_values is None else generated[:, -1:]
        outputs = model(current, past_key_values=past_key_values, use_cache=True)
        past_key_values = outputs.past_key_values
        next_token = outputs.logits[:, -1, :].argmax(dim=-1, keepdim=True)
        generated = torch.cat([generated, next_token], dim=-1)
        print(past_key_values.get_seq_length(), next_token.item(), repr(tokenizer.decode(next_token[0])))

    without_cache = input_ids
    for _ in range(8):
        next_token = model(without_cache).logits[:, -1].argmax(-1, keepdim=True)
        without_cache = torch.cat([without_cache, next_token], dim=-1)
print(torch.equal(generated, without_cache))
print(torch.equal(generated, model.generate(input_ids, max_new_tokens=8, do_sample=False, pad_token_id=0)))
print(tokenizer.decode(generated[0]))
