import os
import subprocess
import sys

import pytest

FORKED = """
import os
from framehook import ModelError
from framehook_plugins.loading import loaded_once

class Plugin:
    @loaded_once
    def model(self):
        return object()

{before}
child = os.fork()
if child:
    os.waitpid(child, 0)
else:
    for plugin in (first, Plugin()):
        try:
            assert plugin.model is plugin.model
        except ModelError as error:
            print(error)
"""
REFUSED = "models were loaded before this process was forked off, and none can be used in it: start processes by 'spawn'"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system forks no processes")
@pytest.mark.parametrize(
    ("before", "refused"), [("first = Plugin()", 0), ("first = Plugin(); first.model", 2)], ids=["before the fork", "after it"]
)
def test_a_forked_process_loads_models_unless_there_were_some_before(before, refused):
    script = FORKED.format(before=before)
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], timeout=60, capture_output=True, text=True, check=True)
    assert done.stdout.count(REFUSED) == refused
    assert not done.stderr
