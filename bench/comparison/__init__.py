"""`make bench BASE=<commit>`: another commit's benchmark and ours, run in turns on this machine."""
