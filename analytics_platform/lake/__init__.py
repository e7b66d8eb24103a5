"""HOW tables are kept: the only home of deltalake."""
