"""Webhook endpoints and the delivery ledger."""
