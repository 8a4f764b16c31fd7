"""Signs events and posts them to the customers' endpoints."""
