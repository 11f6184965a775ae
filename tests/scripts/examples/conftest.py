"""What the example scripts read: small files of each kind, and tiny random models with tokenizers trained on them."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tokenizers import ByteLevelBPETokenizer, Tokenizer, models, normalizers, pre_tokenizers, trainers

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

SUBJECTS = ["cat", "dog", "bird", "child", "teacher", "doctor", "river", "garden", "student", "singer"]
VERBS = ["sees", "finds", "likes", "follows", "paints", "carries", "remembers", "describes"]
OBJECTS = [
    "a red boat",
    "the old house",
    "an apple",
    "two letters",
    "the long road",
    "a quiet song",
    "some bread",
    "the blue door",
]
TIMES = ["in the morning", "after the rain", "before lunch", "on sunday", "every winter", "at night"]
PLACES = ["Paris", "London", "Oslo", "Cairo", "Lima", "Kyoto"]
NAMES = ["Anna", "Bob", "Chidi", "Dana", "Emil", "Farah"]


def sentence(draw: random.Random) -> str:
    return f"the {draw.choice(SUBJECTS)} {draw.choice(VERBS)} {draw.choice(OBJECTS)} {draw.choice(TIMES)}"


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


def pairs(draw: random.Random, count: int) -> list[dict[str, Any]]:
    """Two sentences, and whether the second is about the subject of the first."""
    rows = []
    for _ in range(count):
        first, second = sentence(draw), sentence(draw)
        if draw.random() < 0.5:
            second = " ".join([*first.split()[:2], *second.split()[2:]])
        label = "same" if first.split()[1] == second.split()[1] else "other"
        rows.append({"sentence1": first, "sentence2": second, "label": label})
    return rows


def tagged(draw: random.Random, count: int) -> list[dict[str, Any]]:
    rows = []
    for _ in range(count):
        words = [*sentence(draw).split(), "for", draw.choice(NAMES), "Smith", "from", draw.choice(PLACES)]
        tags = ["O"] * (len(words) - 4) + ["B-PER", "I-PER", "O", "B-LOC"]
        rows.append({"tokens": words, "ner_tags": tags})
    return rows


def questions(draw: random.Random, count: int) -> dict[str, Any]:
    rows = []
    for index in range(count):
        where = draw.choice(PLACES)
        context = f"{sentence(draw)} . {draw.choice(NAMES)} lives in {where} . {sentence(draw)} . {sentence(draw)} ."
        answers = {"text": [where], "answer_start": [context.index(where)]}
        if index % 5 == 4:
            context, answers = context.replace(where, "town"), {"text": [], "answer_start": []}
        rows.append({"id": f"q{index}", "context": context, "question": " where is the home ?", "answers": answers})
    return {"version": "1", "data": rows}


def choices(draw: random.Random, count: int) -> list[dict[str, Any]]:
    rows = []
    for _ in range(count):
        whole = sentence(draw).split()
        label = draw.randrange(4)
        endings = [draw.choice(OBJECTS) for _ in range(4)]
        endings[label] = " ".join(whole[3:])
        row = {"sent1": " ".join(whole[:2]), "sent2": whole[2]}
        rows.append({**row, **{f"ending{i}": ending for i, ending in enumerate(endings)}, "label": label})
    return rows


def summaries(draw: random.Random, count: int) -> list[dict[str, Any]]:
    rows = []
    for _ in range(count):
        sentences = [sentence(draw) for _ in range(draw.randint(1, 3))]
        rows.append({"document": " . ".join(sentences) + " .", "summary": " ".join(sentences[0].split()[:3])})
    return rows


def translations(draw: random.Random, count: int) -> list[dict[str, Any]]:
    rows = (sentence(draw) for _ in range(count))
    return [{"translation": {"en": row, "xx": " ".join(row.split()[::-1])}} for row in rows]


def write_data(root: Path) -> None:
    draw = random.Random(0)
    for split, count in (("train", 24), ("valid", 7), ("test", 5)):
        write_table(
            root / f"pairs_{split}.csv", [row | {"label": int(row["label"] == "same")} for row in pairs(draw, count)]
        )
        write_lines(root / f"pairs_{split}.json", pairs(draw, count))
        write_lines(root / f"ner_{split}.json", tagged(draw, count))
        (root / f"qa_{split}.json").write_text(json.dumps(questions(draw, count)))
        write_table(root / f"swag_{split}.csv", choices(draw, count))
        write_lines(root / f"summaries_{split}.json", summaries(draw, count))
        write_lines(root / f"translations_{split}.json", translations(draw, count))
        text = "\n".join(sentence(draw) + (" ." if i % 3 else " .\n") for i in range(3 * count)) + "\n"
        (root / f"text_{split}.txt").write_text(text)


def save_model(directory: Path, name: str, config: transformers.PretrainedConfig) -> None:
    """Random weights that are large enough that no two tokens are nearly alike."""
    torch.manual_seed(7)
    model = getattr(transformers, name)(config)
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter), alpha=0.1)
    model.save_pretrained(directory)


def write_models(root: Path) -> None:
    files = [str(path) for path in sorted(root.glob("*_train.*"))]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    words.normalizer, words.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    words.train(files, trainers.WordPieceTrainer(vocab_size=160, special_tokens=special, show_progress=False))
    bert = transformers.BertTokenizerFast(vocab=words.get_vocab(), model_max_length=64)
    sizes = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 32, "intermediate_size": 48}
    config = transformers.BertConfig(vocab_size=len(bert), max_position_embeddings=64, **sizes)
    save_model(root / "tiny-bert", "BertForMaskedLM", config)
    config = transformers.DistilBertConfig(
        vocab_size=len(bert), max_position_embeddings=64, dim=32, n_layers=2, n_heads=2, hidden_dim=48
    )
    save_model(root / "tiny-distilbert", "DistilBertForMaskedLM", config)
    for name in ("tiny-bert", "tiny-distilbert"):
        bert.save_pretrained(root / name)

    bytes_ = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    bytes_.train(files, vocab_size=320, special_tokens=special, show_progress=False)
    (root / "bytes").mkdir()
    bytes_.save_model(str(root / "bytes"))
    vocab, merges = json.loads((root / "bytes" / "vocab.json").read_text()), (root / "bytes" / "merges.txt").read_text()
    files_of_bytes = {
        "vocab": vocab,
        "merges": [tuple(line.split()) for line in merges.splitlines() if not line.startswith("#")],
    }
    gpt2 = transformers.GPT2TokenizerFast(
        **files_of_bytes, unk_token="</s>", bos_token="</s>", eos_token="</s>", model_max_length=1024
    )
    config = transformers.GPT2Config(
        vocab_size=len(gpt2) - 8,  # which the script resizes
        n_positions=64,
        n_embd=32,
        n_layer=2,
        n_head=2,
        bos_token_id=2,
        eos_token_id=2,
    )
    save_model(root / "tiny-gpt2", "GPT2LMHeadModel", config)
    gpt2.save_pretrained(root / "tiny-gpt2")
    config = transformers.LlamaConfig(
        vocab_size=len(gpt2) - 8,
        max_position_embeddings=64,
        num_key_value_heads=1,
        bos_token_id=2,
        eos_token_id=2,
        **sizes,
    )
    save_model(root / "tiny-llama", "LlamaForCausalLM", config)
    gpt2.save_pretrained(root / "tiny-llama")
    roberta = transformers.RobertaTokenizerFast(**files_of_bytes, model_max_length=64)
    config = transformers.RobertaConfig(
        vocab_size=len(roberta),
        max_position_embeddings=66,
        type_vocab_size=1,
        # The collator of masks draws too, and the reference's loop asks it for the next batch before a step.
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        **sizes,
    )
    save_model(root / "tiny-roberta", "RobertaForMaskedLM", config)
    roberta.save_pretrained(root / "tiny-roberta")
    config = transformers.BartConfig(
        vocab_size=len(roberta),
        max_position_embeddings=64,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
    )
    save_model(root / "tiny-bart", "BartForConditionalGeneration", config)
    transformers.BartTokenizerFast(**files_of_bytes, model_max_length=64).save_pretrained(root / "tiny-bart")

    pieces = Tokenizer(models.Unigram())
    pieces.normalizer, pieces.pre_tokenizer = normalizers.NFKC(), pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=160, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
    )
    pieces.train(files, trainer)
    vocab = [tuple(piece) for piece in json.loads(pieces.to_str())["model"]["vocab"]]
    t5 = transformers.T5TokenizerFast(vocab=vocab, extra_ids=4, model_max_length=64)
    config = transformers.T5Config(
        vocab_size=len(t5), d_model=32, d_kv=16, d_ff=48, num_layers=2, num_heads=2, decoder_start_token_id=0
    )
    save_model(root / "tiny-t5", "T5ForConditionalGeneration", config)
    t5.save_pretrained(root / "tiny-t5")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the files and models that the command lines name."""
    root = tmp_path_factory.mktemp("inputs")
    write_data(root)
    write_models(root)
    return root
