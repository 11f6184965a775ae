"""Sentence embeddings: mean of the token vectors, cosine similarity, and the nearest sentence."""

import torch
from transformers import AutoModel, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("minilm")
model = AutoModel.from_pretrained("minilm")
model.eval()

sentences = [
    "A man is eating food.",
    "Someone eats a meal.",
    "The stock market fell today.",
    "Börse: schwarzer Tag",
]
inputs = tokenizer(sentences, padding=True, truncation=True, return_tensors="pt")
print(list(inputs.keys()), inputs["input_ids"].shape)
for ids in inputs["input_ids"]:
    print(tokenizer.convert_ids_to_tokens(ids))

with torch.no_grad():
    outputs = model(**inputs)
print(outputs.last_hidden_state.shape, outputs.pooler_output.shape, outputs[0].shape)

mask = inputs["attention_mask"].unsqueeze(-1).float()
embeddings = (outputs.last_hidden_state * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
embeddings = torch.nn.functional.normalize(embeddings, p=2, dim=1)
similarity = embeddings @ embeddings.T
for row in similarity:
    print(" ".join(f"{value:6.3f}" for value in row.tolist()))
nearest = (similarity - 2 * torch.eye(len(sentences))).argmax(dim=1)
for sentence, index in zip(sentences, nearest.tolist(), strict=True):
    print(f"{sentence!r} is nearest to {sentences[index]!r}")

cls = outputs.last_hidden_state[:, 0]
print("[CLS]", [round(value, 3) for value in cls[0, :5].tolist()])
