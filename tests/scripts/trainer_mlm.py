"""Masked language modelling with Trainer: which tokens are masked depends on the seed alone."""

from transformers import (
    AutoTokenizer,
    BertForMaskedLM,
    DataCollatorForLanguageModeling,
    PrinterCallback,
    Trainer,
    TrainingArguments,
    set_seed,
)

tokenizer = AutoTokenizer.from_pretrained("minilm")
set_seed(0)
model = BertForMaskedLM.from_pretrained("tiny-masked")
texts = ["The cat sat on the mat.", "It was tired.", "A dog came by and barked at it.", "Both slept all day long."] * 3
rows = [tokenizer(text) for text in texts]
trainer = Trainer(
    model,
    TrainingArguments(
        "masked-run",
        per_device_train_batch_size=4,
        num_train_epochs=3,
        learning_rate=1e-3,
        logging_steps=1,
        seed=11,
        save_strategy="no",
        disable_tqdm=True,
        use_cpu=True,
    ),
    data_collator=DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.3),
    train_dataset=rows,
)
trainer.remove_callback(PrinterCallback)
trainer.train()
for record in trainer.state.log_history[:-1]:
    print(record["step"], round(record["loss"], 3), record["learning_rate"], record["epoch"])
