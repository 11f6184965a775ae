"""The text-generation app: `python -m minitransformers generate` and `chat` in the terminal, and `app`, a web page.

`settings.py` says what can be set, `session.py` loads the model and starts a text, `tokens.py` turns the steps of
generating it into what is displayed; `terminal.py` and `server.py` (with `page.html`) display it.
"""
