"""What was found: figures, the kept file, the page and the table."""
