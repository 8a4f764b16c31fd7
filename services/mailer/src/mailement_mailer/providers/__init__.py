"""Mail providers: one port, one conformance suite, three ways out of the house."""
