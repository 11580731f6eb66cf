from __future__ import annotations

import pytest

from tests.caches import query
from tests.children import child
from tests.instances import Instance

ROUTES = 1_000_000
LIMIT_MB = 150

# The peak that the process itself reports when its work is done. Not ru_maxrss, which a child
# inherits from whoever started it.
MEASURED = """
import re, sys
from pathlib import Path
from manage import main
try:
    main(["manage.py", "sync_user_routing", "--json"])
finally:
    peak = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024
    print(f"peak_mb={peak}", file=sys.stderr)
"""


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_a_million_routes_need_little_memory(master: Instance) -> None:
    master.execute(
        "INSERT INTO user_email_routing (id, email, tenant_id, user_id, user_name, status) "
        "SELECT n, 'user' || n || '@example.com', n %% 5000, n, 'User Number ' || n, 'Active' "
        "FROM generate_series(1, %s) AS n",
        [ROUTES],
    )
    with child(program=["-c", MEASURED]) as command:
        code, said = command.end(timeout=240)
    assert code == 0, said
    assert query("SELECT count(*) FROM user_routes") == [(ROUTES,)]
    peak = int(said.rpartition("peak_mb=")[2])
    assert peak < LIMIT_MB
