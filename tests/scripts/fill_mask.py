"""Masked language modelling: the five likeliest tokens in place of [MASK], and the loss of the true ones."""

import torch
from transformers import BertForMaskedLM, BertTokenizer

tokenizer = BertTokenizer.from_pretrained("rxnfp", do_lower_case=False)
model = BertForMaskedLM.from_pretrained("rxnfp")
model.eval()

text = f"C C ( = {tokenizer.mask_token} ) O C C"
inputs = tokenizer(text, return_tensors="pt")
with torch.no_grad():
    logits = model(**inputs).logits
print(logits.shape)

position = (inputs.input_ids == tokenizer.mask_token_id)[0].nonzero(as_tuple=True)[0]
probabilities = logits[0, position].softmax(dim=-1)
values, candidates = probabilities.topk(5)
for value, token in zip(values[0].tolist(), candidates[0].tolist(), strict=True):
    print(f"{tokenizer.convert_ids_to_tokens(token):8} {value:.3f}")
best = candidates[0, 0]
print(text.replace(tokenizer.mask_token, tokenizer.decode([best])))

labels = tokenizer("C C ( = O ) O C C", return_tensors="pt")["input_ids"]
labels = torch.where(inputs.input_ids == tokenizer.mask_token_id, labels, -100)
outputs = model(**inputs, labels=labels)
print(f"loss {outputs.loss.item():.4f}")
