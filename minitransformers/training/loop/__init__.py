"""The training loop in the open, and what it calls."""
