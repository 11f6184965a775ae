"""Conversations to text: chat templates, and prompts. Nothing here depends on a class of tokenizers."""
