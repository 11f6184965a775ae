"""Trainer: the class that scripts know, on top of the loop."""
