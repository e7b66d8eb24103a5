"""Contracts started from what there is: a schema, or records; a reader per source, one writer."""
