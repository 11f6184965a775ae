"""Tables that let scripts for `transformers` run: its module paths, names that are not here, inert keywords."""
