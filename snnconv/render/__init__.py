"""Reports in, text out: terminal, Markdown, HTML. Nothing here imports torch."""
