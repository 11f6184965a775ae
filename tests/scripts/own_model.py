"""A model of one's own around a backbone: frozen BERT, a new head, a hand-written loss."""

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, AutoTokenizer


class Classifier(nn.Module):
    def __init__(self, name, num_classes):
        super().__init__()
        self.config = AutoConfig.from_pretrained(name)
        self.backbone = AutoModel.from_pretrained(name, config=self.config)
        self.head = nn.Linear(self.config.hidden_size, num_classes)
        nn.init.constant_(self.head.weight, 0.01)
        nn.init.zeros_(self.head.bias)

    def forward(self, input_ids, attention_mask=None, token_type_ids=None):
        outputs = self.backbone(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
        return self.head(outputs[0][:, 0, :])


tokenizer = AutoTokenizer.from_pretrained("minilm")
model = Classifier("minilm", 3)
for parameter in model.backbone.parameters():
    parameter.requires_grad = False
print(sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad))

texts = ["dogs bark", "cats meow", "planes fly"]
batch = tokenizer(texts, padding="max_length", max_length=8, truncation=True, return_tensors="pt")
targets = torch.tensor([0, 1, 2])
optimizer = torch.optim.SGD(model.head.parameters(), lr=0.5)
model.eval()
for step in range(4):
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(**batch), targets)
    loss.backward()
    optimizer.step()
    print(f"step {step}: {loss.item():.3f}")
print(model(**batch).argmax(-1).tolist())

embedding = model.backbone.get_input_embeddings()
print(embedding.weight.shape, tuple(embedding(batch["input_ids"]).shape))
