"""What is asked of a table, and changed in it, by more than one use case."""
