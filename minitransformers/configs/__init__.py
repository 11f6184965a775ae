"""Configurations: the language in which fields are declared and checked, and what every config.json has."""
