"""Fine-tuning a classifier: batches from a DataLoader, AdamW, a schedule, then accuracy and labels by name."""

import torch
from torch.optim import AdamW
from torch.utils.data import DataLoader
from transformers import AutoModelForSequenceClassification, AutoTokenizer

texts = ["I loved it", "what a waste of time", "wonderful acting", "boring and far too long", "great fun", "awful"]
labels = [1, 0, 1, 0, 1, 0]

torch.manual_seed(0)
tokenizer = AutoTokenizer.from_pretrained("tiny-classifier")
model = AutoModelForSequenceClassification.from_pretrained("tiny-classifier", num_labels=2)
print(sum(parameter.numel() for parameter in model.parameters()), model.num_parameters())


def collate(examples):
    batch = tokenizer([text for text, _ in examples], padding=True, truncation=True, max_length=16, return_tensors="pt")
    batch["labels"] = torch.tensor([label for _, label in examples])
    return batch


loader = DataLoader(list(zip(texts, labels, strict=True)), batch_size=3, collate_fn=collate)
optimizer = AdamW(model.parameters(), lr=5e-3, weight_decay=0.01)
schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, total_iters=12)

model.train()
for epoch in range(6):
    total = 0.0
    for batch in loader:
        optimizer.zero_grad()
        outputs = model(**batch)
        outputs.loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        total += outputs.loss.item()
    print(f"epoch {epoch}: loss {total / len(loader):.3f}")

model.eval()
with torch.no_grad():
    inputs = tokenizer(texts, padding=True, return_tensors="pt").to(model.device)
    predicted = model(**inputs).logits.argmax(dim=-1)
print("accuracy", (predicted == torch.tensor(labels)).float().mean().item())
print([model.config.id2label[index] for index in predicted.tolist()])
