"""Benchmarks: RAINBO's syncs beside a plain copy, beside the naive way, and beside other tools.

`make bench` and `make bench-bloat` run it. What drives the measurements knows nothing of RAINBO's
code: the syncs run in processes of their own (bench/testbed/rainbo_process.py), as they do for a
person.
"""
