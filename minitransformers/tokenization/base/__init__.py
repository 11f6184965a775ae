"""What every tokenizer does: calling, padding, truncation, decoding, saving."""
