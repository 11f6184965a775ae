"""Training: one loop in the open, what it calls, and the `Trainer` that scripts know."""
