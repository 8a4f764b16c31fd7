"""The published language: what services tell each other. `docs/events.md` explains each event."""
