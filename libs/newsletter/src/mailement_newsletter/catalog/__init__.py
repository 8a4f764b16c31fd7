"""What operators set up and look at: accounts, brands, keys, topics, fields, drips, subscribers."""
