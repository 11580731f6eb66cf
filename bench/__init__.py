"""Benchmarks: RAINBO's syncs beside a plain copy, beside the naive way, and beside other tools.

`python -m bench routes|fleet|bloat|page` are the parts, `make bench` and `make bench-bloat` the words
of the Makefile. What drives the measurements knows nothing of RAINBO's code: the syncs run in
processes of their own (bench/child.py), as they do for a person.
"""
