"""One file per noun, one function per command."""
