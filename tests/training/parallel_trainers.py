"""Runs of the Trainer that are equal on one process and on two: the same global batches, divided among them."""

import json
import os
from pathlib import Path

import numpy as np
import torch
from parallel_runs import as_loaded
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset

import minitransformers as mt
from minitransformers.training.loop.distributed import world_size

VOCABULARY, LENGTH, CLASSES, ROWS = 24, 8, 3, 10
SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def bert(kind=mt.BertForSequenceClassification, **fields):
    torch.manual_seed(0)
    options = {"max_position_embeddings": LENGTH, "num_labels": CLASSES, **SIZES, **NO_DROPOUT, **fields}
    return kind(mt.BertConfig(vocab_size=VOCABULARY, **options))


def gpt2():
    torch.manual_seed(0)
    rates = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    sizes = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": LENGTH, "bos_token_id": 0, "eos_token_id": 0}
    return as_loaded(mt.GPT2LMHeadModel(mt.GPT2Config(vocab_size=VOCABULARY, **sizes, **rates)))


def t5():
    torch.manual_seed(0)
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2, "dropout_rate": 0.0}
    return mt.T5ForConditionalGeneration(mt.T5Config(vocab_size=VOCABULARY, decoder_start_token_id=0, **sizes))


def texts(count, seed):
    """Examples of several lengths, each with a class."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(3, LENGTH + 1, (count,), generator=generator).tolist()
    return [
        {
            "input_ids": torch.randint(2, VOCABULARY, (length,), generator=generator),
            "labels": int(torch.randint(CLASSES, (), generator=generator)),
        }
        for length in lengths
    ]


def classes(rows):
    length = max(len(row["input_ids"]) for row in rows)
    ids = torch.stack([F.pad(row["input_ids"], (0, length - len(row["input_ids"]))) for row in rows])
    return {"input_ids": ids, "attention_mask": (ids != 0).long(), "labels": torch.tensor([r["labels"] for r in rows])}


def next_tokens(rows):
    batch = classes(rows)
    return {**batch, "labels": batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)}


def token_classes(rows):
    """Predictions with the length of their batch."""
    batch = next_tokens(rows)
    return {**batch, "labels": batch["labels"].where(batch["labels"] < 0, batch["labels"] % CLASSES)}


def metrics(prediction):
    """The accuracy, and a number that changes if an example is missing, repeated, or out of order."""
    predictions, labels, inputs, losses = prediction
    assert len(predictions) == len(labels) == len(inputs) == len(losses)
    right = (predictions.argmax(-1) == labels)[labels != -100]
    order = float((np.arange(1, len(inputs) + 1) * inputs.sum(axis=1)).sum())
    return {"accuracy": right.mean(), "order": order, "number": len(labels), "spread": float(losses.std())}


def generated_metrics(prediction):
    """Numbers that change with every token and its position."""
    ids, labels = prediction
    places = np.arange(1, ids.size + 1).reshape(ids.shape)
    return {"order": float((places * ids).sum()), "width": ids.shape[1], "number": len(labels)}


class Stream(IterableDataset):
    """A data set of texts without length and index."""

    def __iter__(self):
        return iter(texts(ROWS, 1))


class Sums(mt.Trainer):
    """An overridden loss that does not use the pooler, and an evaluation loader that is not sharded."""

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        loss = (outputs.last_hidden_state[:, 0, 0] - labels).square().mean()
        return (loss, outputs) if return_outputs else loss

    def get_eval_dataloader(self, eval_dataset=None):
        return DataLoader(self.eval_dataset, batch_size=2, collate_fn=self.data_collator)


class Steps(mt.Trainer):
    """A step of a user's own: the gradients of two forward passes, and a loader that the accelerator shares."""

    def training_step(self, model, inputs, num_items_in_batch=None):
        loss = super().training_step(model, inputs, num_items_in_batch)
        again = self.compute_loss(model, self._prepare_inputs(inputs), num_items_in_batch=num_items_in_batch) / 2
        self.accelerator.backward(again)
        return loss + again.detach()

    def get_train_dataloader(self):
        loader = DataLoader(
            self.train_dataset, batch_size=4 // world_size(), shuffle=True, collate_fn=self.data_collator
        )
        return self.accelerator.prepare(loader)


RUNS = {
    "sharded": {
        "model": gpt2,
        "collator": next_tokens,
        "fsdp": "full_shard auto_wrap" if "RANK" in os.environ else None,
        "fsdp_config": {"activation_checkpointing": True},
        "gradient_accumulation_steps": 2,
        "eval_strategy": "epoch",
        "save_strategy": "epoch",
        "load_best_model_at_end": True,
    },
    "steps": {"kind": Steps, "model": gpt2, "collator": next_tokens, "gradient_accumulation_steps": 2},
    "epochs": {
        "eval_strategy": "epoch",
        "save_strategy": "epoch",
        "load_best_model_at_end": True,
        "learning_rate": 0.03,
    },
    "accumulated": {"model": gpt2, "collator": next_tokens, "gradient_accumulation_steps": 2, "warmup_steps": 1},
    "plateau": {
        "model": lambda: bert(mt.BertForTokenClassification),
        "collator": token_classes,
        "eval_strategy": "steps",
        "eval_steps": 1,
        "lr_scheduler_type": "reduce_lr_on_plateau",
        "lr_scheduler_kwargs": {"patience": 0},
        "learning_rate": 0.05,
        "activation_checkpointing": True,
    },
    "stream": {"train_dataset": Stream(), "max_steps": 5, "eval_strategy": "steps", "eval_steps": 2},
    "own": {
        "kind": Sums,
        "model": lambda: bert(mt.BertModel),
        "label_names": ["labels"],
        "compute_metrics": None,
        "eval_strategy": "epoch",
    },
    "generated": {
        "kind": mt.Seq2SeqTrainer,
        "arguments": mt.Seq2SeqTrainingArguments,
        "model": t5,
        "collator": next_tokens,
        "compute_metrics": generated_metrics,
        "include_for_metrics": [],
        "eval_strategy": "epoch",
        "optim": "adafactor",
        "predict_with_generate": True,
        "generation_max_length": 23,  # longer than the padded length of shorter batches
        "generation_num_beams": 2,
    },
}


def trainer(name, directory, **changes):
    """A Trainer for that run, in batches of four over all processes."""
    options = {**RUNS.get(name, {}), **changes}
    kind, model = options.pop("kind", mt.Trainer), options.pop("model", bert)()
    data = {"train_dataset": options.pop("train_dataset", None) or texts(ROWS, 1), "eval_dataset": texts(7, 2)}
    others = {"compute_metrics": options.pop("compute_metrics", metrics), "callbacks": options.pop("callbacks", None)}
    fixed = {
        "num_train_epochs": 2,
        "learning_rate": 0.01,
        "logging_steps": 1,
        "save_steps": 3,
        "report_to": ["jsonl"],
        "include_for_metrics": ["inputs", "loss"],
        "use_cpu": True,
        "disable_tqdm": True,
        "remove_unused_columns": False,
    }
    collator = options.pop("collator", classes)
    sizes = {"per_device_train_batch_size": 4 // world_size(), "per_device_eval_batch_size": 2}
    arguments = options.pop("arguments", mt.TrainingArguments)
    args = arguments(str(directory), **{**fixed, **sizes, **options})
    return kind(model, args, data_collator=collator, **data, **others)


def log_of(directory):
    return [json.loads(line) for line in (Path(directory) / "log.jsonl").read_text().splitlines()]
