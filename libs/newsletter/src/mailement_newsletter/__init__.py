"""What the product is about: brands, subscribers, topics, drips and the mail ledger."""
