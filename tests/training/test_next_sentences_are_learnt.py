"""Next-sentence prediction learns from informative data; the usual failure is a constant prediction."""

from __future__ import annotations

import torch
from torch.utils.data import DataLoader

from minitransformers import BertConfig, BertForPreTraining, DataCollatorForLanguageModeling
from minitransformers.data import SentencePairDataset, next_sentence_pairs, train_wordpiece
from minitransformers.training import Settings, evaluate, train

WORDS = [[f"{consonant}{vowel}" for vowel in "aeiou"] for consonant in "klm"]  # of each document


def test_pairs_of_documents_with_different_words_are_classified() -> None:
    """The words show whether two segments come from one document, and allow guesses of masked words."""
    generator = torch.Generator().manual_seed(0)

    def documents(sentences: int) -> list[list[str]]:
        drawn = [torch.randint(5, (sentences, 4), generator=generator).tolist() for _ in WORDS]
        return [[" ".join(words[i] for i in row) for row in rows] for words, rows in zip(WORDS, drawn, strict=True)]

    tokenizer = train_wordpiece([" ".join(words) for words in WORDS], vocab_size=60, min_frequency=1)

    def batches(sentences: int, seed: int) -> DataLoader:
        ids = [tokenizer(document, add_special_tokens=False)["input_ids"] for document in documents(sentences)]
        pairs = SentencePairDataset(next_sentence_pairs(ids, max_length=16, seed=seed), tokenizer)
        mask = DataCollatorForLanguageModeling(tokenizer, seed=seed)
        return DataLoader(pairs, 8, shuffle=True, collate_fn=mask, generator=torch.Generator().manual_seed(seed))

    torch.manual_seed(0)
    model = BertForPreTraining(
        BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=32,
            initializer_range=0.2,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    )
    held_out = list(batches(60, seed=1))
    before = evaluate(model, held_out)
    assert before["nsp_accuracy"] < 0.65
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    train(model, optimizer, None, batches(200, seed=2), Settings(epochs=8, log_every=None))
    after = evaluate(model, held_out)
    assert after["nsp_accuracy"] > 0.9
    assert after["perplexity"] < 6  # the document has five of the fifteen words
    answers = torch.cat([model(**batch).seq_relationship_logits.argmax(-1) for batch in held_out])
    assert 0.35 < answers.double().mean() < 0.65
