"""GPT-2: the next token, the perplexity of a text, and greedy continuations, of one prompt and of a batch."""

import torch
from transformers import GPT2LMHeadModel, GPT2Tokenizer

tokenizer = GPT2Tokenizer.from_pretrained("tiny-gpt2")
model = GPT2LMHeadModel.from_pretrained("tiny-gpt2")
model.eval()
tokenizer.pad_token = tokenizer.eos_token

inputs = tokenizer("The capital of France is", return_tensors="pt")
print(inputs["input_ids"].tolist(), tokenizer.tokenize("The capital of France is"))
with torch.no_grad():
    outputs = model(**inputs)
next_token_logits = outputs.logits[0, -1]
print(tuple(outputs.logits.shape), tokenizer.decode(next_token_logits.argmax()))
probabilities = torch.softmax(next_token_logits, dim=-1)
top = torch.topk(probabilities, 5)
for token, value in zip(top.indices, top.values, strict=True):
    print(f"{tokenizer.decode(token)!r:16} {value:.3f}")

text = "It was the best of times, it was the worst of times"
input_ids = tokenizer.encode(text, return_tensors="pt")
with torch.no_grad():
    loss = model(input_ids, labels=input_ids).loss
print(f"loss {loss.item():.3f}, perplexity {torch.exp(loss).item():.4g}")

output_ids = model.generate(**inputs, max_new_tokens=10, do_sample=False, pad_token_id=tokenizer.eos_token_id)
print(output_ids[0].tolist())
print(tokenizer.decode(output_ids[0], skip_special_tokens=True))

tokenizer.padding_side = "left"
batch = tokenizer(["Hello", "My name is", "Once upon a time, in a"], padding=True, return_tensors="pt")
print(batch["attention_mask"].tolist())
generated = model.generate(**batch, max_new_tokens=6, do_sample=False, pad_token_id=tokenizer.pad_token_id)
for line in tokenizer.batch_decode(generated, skip_special_tokens=True):
    print(repr(line))
