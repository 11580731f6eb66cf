"""What processes take: of those that ended, too."""

from __future__ import annotations

import subprocess
import sys

from bench.testbed.process_usage import processor_seconds

# A process that waits for a child which is busy for as long, and then for its own end.
PARENT = """
import subprocess, sys
busy = "import time\\nwhile time.process_time() < 0.5: pass"
subprocess.run([sys.executable, "-c", busy], check=True)
print("done", flush=True)
sys.stdin.read()
"""


def test_a_child_that_ended_is_counted() -> None:
    words = [sys.executable, "-c", PARENT]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        taken = processor_seconds(process.pid)
        process.communicate()
    assert 0.5 <= taken < 2
