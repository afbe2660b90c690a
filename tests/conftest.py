"""Where the real clips and data lie, and the CUDA device, for the tests that need them."""

import os
import signal
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"

# A shell's background jobs ignore Ctrl-C, and so would all that the tests start: they are about what it does where it is heard.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _shared(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        message = f"needs real material in ../shared/{name}"
        if os.environ.get("FRAMEHOOK_REQUIRE_SHARED") == "1":
            pytest.fail(message)
        pytest.skip(message)
    return folder


@pytest.fixture(scope="session")
def shared_videos() -> Path:
    """The folder of real clips."""
    return _shared("videos")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of labelled faces."""
    return _shared("data")


@pytest.fixture(scope="session")
def cuda():
    """A CUDA device; without one the test is skipped, or fails where FRAMEHOOK_REQUIRE_CUDA=1."""
    import torch  # not above: most tests do without it

    if not torch.cuda.is_available():
        message = "needs a CUDA device"
        if os.environ.get("FRAMEHOOK_REQUIRE_CUDA") == "1":
            pytest.fail(message)
        pytest.skip(message)
    return torch.device("cuda")
