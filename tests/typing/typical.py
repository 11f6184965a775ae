"""Twenty lines as scripts have them. Type checkers find no error here, and complete what comes after each dot."""

import torch

from minitransformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertTokenizer,
    DataCollatorWithPadding,
    GenerationConfig,
    Trainer,
    TrainingArguments,
)

tokenizer = AutoTokenizer.from_pretrained("bert-base-uncased", use_fast=True)
inputs = tokenizer(["A man is eating.", "Someone eats."], padding=True, truncation=True, return_tensors="pt").to("cpu")
encoder = AutoModel.from_pretrained("bert-base-uncased", dtype=torch.bfloat16).to("cpu").eval()
vectors = encoder(**inputs).last_hidden_state.mean(dim=1)

masked = BertForMaskedLM.from_pretrained("bert-base-uncased", attn_implementation="eager")
outputs = masked(input_ids=inputs["input_ids"], attention_mask=inputs.attention_mask, labels=inputs["input_ids"])
outputs.loss.backward()
best = outputs.logits.argmax(dim=-1)
print(tokenizer.decode(best[0], skip_special_tokens=True), outputs.hidden_states, outputs["logits"].shape)
scratch = BertForMaskedLM(BertConfig(hidden_size=48, num_attention_heads=4))
optimizer = torch.optim.AdamW(scratch.parameters(), lr=1e-4)
loss, logits = scratch(**inputs, return_dict=True).to_tuple()[:2]

writer = AutoModelForCausalLM.from_pretrained("gpt2", device_map="auto")
prompt = tokenizer("Once", return_tensors="pt")
generated = writer.generate(**prompt, max_new_tokens=20, do_sample=True, top_p=0.9)
print(tokenizer.batch_decode(generated, skip_special_tokens=True), generated[:, prompt["input_ids"].shape[1] :])
result = writer.generate(**prompt, generation_config=GenerationConfig(max_length=9), return_dict_in_generate=True)
print(result.sequences.shape, writer.config.vocab_size, writer(**prompt).logits[:, -1].topk(3).indices)
summary = AutoModelForSeq2SeqLM.from_pretrained("t5-small").generate(inputs["input_ids"], num_beams=4)

config = AutoConfig.from_pretrained("bert-base-uncased", num_labels=3)
classifier = AutoModelForSequenceClassification.from_pretrained("bert-base-uncased", config=config)
print(classifier(**inputs).logits.softmax(-1), config.hidden_size, classifier.config.id2label[0])
classifier.save_pretrained("classifier")
trainer = Trainer(
    model=classifier,
    args=TrainingArguments(output_dir="run", learning_rate=5e-5, num_train_epochs=1),
    train_dataset=[{"input_ids": [1, 2], "labels": 0}],
    data_collator=DataCollatorWithPadding(tokenizer),
    processing_class=tokenizer,
)
trainer.train(resume_from_checkpoint=True)
print(trainer.evaluate()["eval_loss"], BertTokenizer.from_pretrained("bert-base-uncased").vocab_size)
