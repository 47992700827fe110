"""A run on many processes or machines: shards of its environments, who steps them, and what becomes of it."""
