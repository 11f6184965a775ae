"""The text-generation app: `python -m minitransformers generate` and `chat` in the terminal, and `app`, a web page.

`settings.py` declares the settings, `session.py` loads the model and starts a text, `tokens.py` turns the steps of
generation into displayed tokens; `terminal.py` and `server.py` (with `page.html`) display them.
"""
