"""A receiver of webhooks that behaves as badly as receivers do. It speaks HTTP by hand: bad manners need it."""
