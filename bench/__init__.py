"""Benchmarks: RAINBO's syncs compared with a plain copy, the naive way, and other tools.

`make bench` and `make bench-bloat` run it. What drives the measurements knows nothing of RAINBO's
code: the syncs run in processes of their own (bench/testbed/rainbo_process.py), as they do for a
person.
"""
