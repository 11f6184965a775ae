"""From images to `pixel_values`: reading, resizing and normalization."""
