"""Training a language model in a loop of one's own: AdamW, a schedule with warm-up, clipped gradients."""

import torch
from torch.optim import AdamW
from torch.utils.data import DataLoader
from transformers import AutoModelForCausalLM, AutoTokenizer, DataCollatorForLanguageModeling, get_scheduler

tokenizer = AutoTokenizer.from_pretrained("tiny-gpt2")
tokenizer.pad_token = tokenizer.eos_token
model = AutoModelForCausalLM.from_pretrained("tiny-gpt2")
texts = ["The cat sat on the mat.", "It was tired.", "A dog came by and barked at it.", "Both slept."] * 2
rows = [tokenizer(text) for text in texts]
loader = DataLoader(rows, batch_size=3, collate_fn=DataCollatorForLanguageModeling(tokenizer, mlm=False))

optimizer = AdamW(model.parameters(), lr=1e-3)
num_training_steps = 2 * len(loader)
scheduler = get_scheduler("linear", optimizer=optimizer, num_warmup_steps=2, num_training_steps=num_training_steps)
model.train()
for epoch in range(2):
    for batch in loader:
        loss = model(**batch).loss
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        print(epoch, round(loss.item(), 3), round(norm.item(), 2), scheduler.get_last_lr())
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
