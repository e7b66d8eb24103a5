"""WHAT a record must be: contracts read, compiled, and used to decode and check rows."""
