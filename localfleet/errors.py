class FleetError(Exception):
    """The local fleet can't do what was asked; the message says what to do."""
