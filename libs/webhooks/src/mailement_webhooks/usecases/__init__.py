"""What operators and the dispatcher do, one deed per file, with its SQL beside it."""
