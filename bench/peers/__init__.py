"""Other tools that do the routing sync's job: the same rows into a table with the same indexes."""
