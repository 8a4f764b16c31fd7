"""Renders the ledger's messages and hands them to a mail provider."""
