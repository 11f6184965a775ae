"""Fine-tuning a tagger of names with Trainer: words are split to pieces, of which only the first is labelled."""

from transformers import (
    AutoModelForTokenClassification,
    AutoTokenizer,
    DataCollatorForTokenClassification,
    PrinterCallback,
    Trainer,
    TrainingArguments,
)

sentences = [
    (["Ada", "met", "Charles", "in", "London"], [1, 0, 1, 0, 2]),
    (["Turing", "worked", "for", "Ferranti"], [1, 0, 0, 3]),
    (["The", "Thames", "is", "long"], [0, 2, 0, 0]),
    (["Grace", "Hopper", "joined", "Remington", "Rand"], [1, 1, 0, 3, 3]),
]
tokenizer = AutoTokenizer.from_pretrained("tiny-tagger")
model = AutoModelForTokenClassification.from_pretrained("tiny-tagger")


def encode(words, tags):
    encoded = tokenizer(words, is_split_into_words=True)
    words_of = encoded.word_ids()
    firsts = [word is not None and word != before for word, before in zip(words_of, [None, *words_of], strict=False)]
    return {**encoded, "labels": [tags[word] if first else -100 for word, first in zip(words_of, firsts, strict=True)]}


rows = [encode(*sentence) for sentence in sentences]
trainer = Trainer(
    model,
    TrainingArguments(
        "tagger-run",
        per_device_train_batch_size=2,
        per_device_eval_batch_size=2,
        max_steps=5,
        learning_rate=1e-3,
        lr_scheduler_type="cosine",
        logging_steps=2,
        save_strategy="no",
        disable_tqdm=True,
        use_cpu=True,
    ),
    DataCollatorForTokenClassification(tokenizer),
    train_dataset=rows,
    eval_dataset=rows,
)
trainer.remove_callback(PrinterCallback)
trainer.train()
for record in trainer.state.log_history[:-1]:
    print(record["step"], round(record["loss"], 3), record["learning_rate"])
print(round(trainer.evaluate()["eval_loss"], 3))
predicted = trainer.predict(rows)
print(predicted.predictions.shape, predicted.label_ids.shape)
print([model.config.id2label[label] for label in predicted.predictions[0].argmax(-1).tolist()])
