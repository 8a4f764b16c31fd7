"""A lean HTTP/1.1 client for POSTs to strangers: every wait, every byte and every address is bounded."""
