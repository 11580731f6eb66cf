"""Channels: where messages go, one file for each kind."""
