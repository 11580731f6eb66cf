"""How dates and times look wherever Django formats them itself."""
