"""Fine-tuning a sentiment classifier with Trainer, metrics and the best model, as a tutorial does."""

import numpy as np
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    EarlyStoppingCallback,
    PrinterCallback,
    Trainer,
    TrainingArguments,
)

texts = ["a fine film", "dull and long", "I loved it", "what a waste of time", "a joy", "not for me", "great", "awful"]
labels = [1, 0, 1, 0, 1, 0, 1, 0]
tokenizer = AutoTokenizer.from_pretrained("tiny-classifier")
model = AutoModelForSequenceClassification.from_pretrained("tiny-classifier")
rows = [{**tokenizer(text), "label": label, "text": text} for text, label in zip(texts, labels, strict=True)]


def compute_metrics(prediction):
    logits, labels = prediction
    return {"accuracy": np.mean(np.argmax(logits, axis=-1) == labels)}


arguments = TrainingArguments(
    "classifier-run",
    per_device_train_batch_size=3,
    num_train_epochs=4,
    learning_rate=1e-3,
    warmup_steps=2,
    weight_decay=0.01,
    logging_steps=1,
    eval_strategy="epoch",
    save_strategy="epoch",
    save_total_limit=1,
    load_best_model_at_end=True,
    metric_for_best_model="accuracy",
    disable_tqdm=True,
    use_cpu=True,
)
trainer = Trainer(
    model,
    arguments,
    train_dataset=rows,
    eval_dataset=rows[:5],
    processing_class=tokenizer,
    compute_metrics=compute_metrics,
    callbacks=[EarlyStoppingCallback(3)],
)
trainer.remove_callback(PrinterCallback)
result = trainer.train()
print(result.global_step, round(result.training_loss, 3), sorted(result.metrics))
for record in trainer.state.log_history[:-1]:
    shown = [key for key in record if not key.endswith(("runtime", "per_second"))]
    print([(key, round(record[key], 3) if "rate" not in key else record[key]) for key in shown])
print(trainer.state.best_global_step, trainer.state.best_metric, trainer.state.epoch)
print(trainer.predict(rows).predictions.argmax(-1).tolist())
