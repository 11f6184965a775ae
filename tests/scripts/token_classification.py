"""Named entities: labels for words, spread over their pieces, -100 where none is wanted."""

import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("tiny-tagger")
model = AutoModelForTokenClassification.from_pretrained("tiny-tagger")
model.eval()
print(model.config.id2label, model.config.num_labels)

words = ["Wolfgang", "lives", "in", "Unterpfaffenhofen", "near", "Munich", "."]
tags = ["B-PER", "O", "O", "B-LOC", "O", "B-LOC", "O"]
encoding = tokenizer(words, is_split_into_words=True, return_tensors="pt")
labels = []
previous = None
for word in encoding.word_ids(batch_index=0):
    labels.append(-100 if word is None or word == previous else model.config.label2id[tags[word]])
    previous = word
print(labels)

with torch.no_grad():
    outputs = model(**encoding, labels=torch.tensor([labels]))
print(f"loss {outputs.loss:.3f}", tuple(outputs.logits.shape))
predictions = outputs.logits.argmax(dim=-1)[0].tolist()
for token, prediction in zip(encoding.tokens(), predictions, strict=True):
    print(f"{token:12} {model.config.id2label[prediction]}")

text = "Wolfgang lives in Munich"
encoding = tokenizer(text, return_offsets_mapping=True)
print([text[start:end] for start, end in encoding["offset_mapping"]])
