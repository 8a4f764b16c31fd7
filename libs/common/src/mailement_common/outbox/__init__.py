"""The outbox: events are written with the change, and the relay hands them to the broker."""
