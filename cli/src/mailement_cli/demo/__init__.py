"""The whole way once, against real services, looked at from outside."""
