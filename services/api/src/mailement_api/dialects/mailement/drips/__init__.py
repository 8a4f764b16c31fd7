"""Drips, an addition of ours to the document: definitions, runs, what they would do and why they did it; events."""
