"""Messages, an addition of ours to the document: what mail there was, and what became of it."""
