"""Extractive question answering: where in the context the answer starts and ends."""

import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("tiny-reader")
model = AutoModelForQuestionAnswering.from_pretrained("tiny-reader")
model.eval()

question = "Where do penguins live?"
context = "Penguins are birds that cannot fly. Most of them live in the southern half of the world. " * 3
inputs = tokenizer(question, context, return_tensors="pt", truncation=True, max_length=384)
print(inputs["input_ids"].shape, inputs["token_type_ids"].sum().item())
with torch.no_grad():
    outputs = model(**inputs)

start = outputs.start_logits.argmax()
end = outputs.end_logits.argmax()
print(start.item(), end.item(), round(outputs.start_logits.max().item(), 3), round(outputs.end_logits.max().item(), 3))
start, end = min(start, end), max(start, end)
answer = tokenizer.decode(inputs["input_ids"][0, start : end + 1])
print(answer)
print(tokenizer.convert_ids_to_tokens(inputs["input_ids"][0][start : start + 3]))

loss = model(**inputs, start_positions=torch.tensor([12]), end_positions=torch.tensor([15])).loss
print(f"loss {loss.item():.3f}")

windows = tokenizer(
    question, context, truncation="only_second", max_length=32, stride=8, return_overflowing_tokens=True
)
print(len(windows["input_ids"]), [len(ids) for ids in windows["input_ids"]])
print(tokenizer.decode(windows["input_ids"][1], skip_special_tokens=True))
