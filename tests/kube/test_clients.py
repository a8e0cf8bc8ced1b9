"""Reading in several threads."""

import subprocess
import sys

_AT_ONCE = """
import sys, threading
from shopset.kube import clients
from lightkube.core import decoders
sys.setswitchinterval(1e-6)
barrier = threading.Barrier(8)
def read():
    barrier.wait()
    decoders.decode_status(b'{"kind": "Status", "details": {"causes": [{"field": "x"}]}}')
    decoders.decode_watch_event(b'{"type": "ADDED", "object": {}}')
    for kind in (clients.APPLICATION, *clients.RESOURCES.values()):
        decoders.decode_list(b'{"items": [{"metadata": {"name": "x"}}], "metadata": {"continue": "x"}}', kind)[2][0].metadata
threads = [threading.Thread(target=read) for _ in range(8)]
for each in threads:
    each.start()
for each in threads:
    each.join()
"""


def test_threads_that_read_for_the_first_time_at_once_do_not_end_the_process() -> None:
    # Without `ready` it ends by SIGSEGV in two of three runs.
    for _ in range(3):
        subprocess.run([sys.executable, "-c", _AT_ONCE], check=True, timeout=60)
