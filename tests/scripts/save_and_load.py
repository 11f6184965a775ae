"""Saving a model and its tokenizer, loading them again, changing the head and the vocabulary."""

import tempfile

import torch
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoTokenizer, BertConfig, BertModel

tokenizer = AutoTokenizer.from_pretrained("tiny-classifier")
model = AutoModelForSequenceClassification.from_pretrained("tiny-classifier").eval()
inputs = tokenizer("Save me, please!", return_tensors="pt")

with tempfile.TemporaryDirectory() as directory:
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    again = AutoModelForSequenceClassification.from_pretrained(directory)
    same = AutoTokenizer.from_pretrained(directory)
    print(same("Save me, please!")["input_ids"] == inputs["input_ids"][0].tolist())
    with torch.no_grad():
        print(torch.allclose(again(**inputs).logits, model(**inputs).logits))
        print([round(value, 3) for value in again(**inputs).logits[0].tolist()])
    backbone = AutoModel.from_pretrained(directory)
    print(type(backbone).__name__, backbone.config.hidden_size, backbone.num_parameters())
    config = AutoConfig.from_pretrained(directory, num_labels=5)
    print(config.num_labels, config.id2label)
    other = AutoModelForSequenceClassification.from_pretrained(directory, config=config, ignore_mismatched_sizes=True)
    print(other.classifier.weight.shape, other.classifier.bias.tolist())

print(tokenizer.add_tokens(["quokka", "numbat"]), len(tokenizer))
print(backbone.resize_token_embeddings(len(tokenizer)).weight.shape, backbone.config.vocab_size)
print(tokenizer.tokenize("A quokka and a numbat"))

config = BertConfig(hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, vocab_size=100)
fresh = BertModel(config)
print(fresh.config.hidden_size, fresh.num_parameters(), fresh.dtype, fresh.device)
print(tuple(fresh(torch.tensor([[1, 2, 3]])).last_hidden_state.shape))
