"""Private servers for development, tests and benches.

Everything here is synchronous and needs only the standard library.
"""
