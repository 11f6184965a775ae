"""One file a family: how its tokenizer is built from a vocabulary."""
