"""What is measured: the routing sync, lookups, fleet reads, table size."""
