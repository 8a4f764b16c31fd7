"""The wire dialects; each is a translation and borrows nothing from another."""
