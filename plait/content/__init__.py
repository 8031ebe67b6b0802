"""Content blocks of an answer, and how people read them: Markdown, terminal text, HTML."""
