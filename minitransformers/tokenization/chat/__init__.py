"""Conversations to text and ids: chat templates."""
