"""Webhooks, an addition of ours to the document: endpoints, deliveries, what was missed, replays."""
