"""PostgreSQL servers on this machine: binaries, data folders, databases."""
