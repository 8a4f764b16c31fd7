"""What can be done, one deed a file: the rule in a sentence, the statement beside it, one transaction each."""
