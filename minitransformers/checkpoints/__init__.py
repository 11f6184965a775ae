"""Weights in files: their names as data, reading, loading, saving."""
