"""What all models share: loading and saving, preparing inputs, tied and resized embeddings, encoder–decoders."""
