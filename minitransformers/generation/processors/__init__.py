"""Processors: functions that change the scores of the next token."""
