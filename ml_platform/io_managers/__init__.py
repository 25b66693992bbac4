"""The typed I/O managers: one module a stored kind."""
