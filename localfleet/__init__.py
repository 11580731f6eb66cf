"""A real PostgreSQL fleet on this machine, for the demo and the tests.

It knows nothing of RAINBO's own code: the demo drives it through `manage.py`.
"""
