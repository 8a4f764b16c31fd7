"""The operators' command line, and the local stack for development."""
