"""Attention weights and hidden states of BERT and GPT-2, as a lesson looks at them."""

import torch
from transformers import AutoTokenizer, BertModel, GPT2Model

tokenizer = AutoTokenizer.from_pretrained("minilm")
model = BertModel.from_pretrained(
    "minilm", output_attentions=True, output_hidden_states=True, attn_implementation="eager"
)
inputs = tokenizer("The cat sat on the mat", "because it was tired", return_tensors="pt")
with torch.no_grad():
    outputs = model(**inputs)
tokens = tokenizer.convert_ids_to_tokens(inputs["input_ids"][0])
print(len(outputs.attentions), tuple(outputs.attentions[0].shape), len(outputs.hidden_states))
print(torch.allclose(outputs.attentions[0].sum(-1), torch.ones(1), atol=1e-5))
it = tokens.index("it")
for layer in (0, 3, 5):
    weights = outputs.attentions[layer][0].mean(dim=0)[it]
    best = weights.topk(3).indices.tolist()
    print(layer, [(tokens[index], round(weights[index].item(), 3)) for index in best])
print([round(state.norm().item(), 2) for state in outputs.hidden_states])
print(torch.equal(outputs.hidden_states[-1], outputs.last_hidden_state))

causal = GPT2Model.from_pretrained("tiny-gpt2", attn_implementation="eager")
tokenizer = AutoTokenizer.from_pretrained("tiny-gpt2")
inputs = tokenizer("The cat sat on the mat", return_tensors="pt")
with torch.no_grad():
    attention = causal(**inputs, output_attentions=True).attentions[-1][0, 0]
for row in attention:
    print(" ".join(f"{value:.2f}" for value in row.tolist()))
print(torch.equal(attention, attention.tril()))
