"""What the demo's databases hold: schema and believable rows."""
