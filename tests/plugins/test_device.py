"""Float32 is multiplied as it is where that was asked for, and only there."""

from contextlib import ExitStack

import pytest
import torch

from framehook_plugins.device import exact_products

CUDA = torch.device("cuda")  # the settings are there without one, too
CUDNN, MATMUL = torch.backends.cudnn, torch.backends.cuda.matmul
NEWER = hasattr(CUDNN, "conv")
EXACT = ("ieee", "ieee") if NEWER else (False, "highest")


def settings():
    if NEWER:
        return CUDNN.conv.fp32_precision, MATMUL.fp32_precision
    return CUDNN.allow_tf32, torch.get_float32_matmul_precision()


@pytest.fixture(autouse=True)
def _torch_as_it_was():
    yield
    if NEWER:
        torch.backends.fp32_precision = "none"
        MATMUL.fp32_precision = "none"
    CUDNN.allow_tf32 = True
    torch.set_float32_matmul_precision("highest")


def nothing():
    pass


def convolutions_exact():
    CUDNN.conv.fp32_precision = "ieee"


def everything_rounded():
    torch.backends.fp32_precision = "tf32"


def products_rounded():
    MATMUL.fp32_precision = "tf32"


def products_rounded_as_of_old():
    torch.set_float32_matmul_precision("medium")


newer = pytest.mark.skipif(not NEWER, reason="a setting of torch 2.9")


@pytest.mark.parametrize(
    "users_choice",
    [
        nothing,
        products_rounded_as_of_old,
        *(pytest.param(choice, marks=newer) for choice in (convolutions_exact, everything_rounded, products_rounded)),
    ],
)
def test_products_are_exact_inside_and_as_the_user_chose_afterwards(users_choice):
    users_choice()
    before = settings()

    with exact_products(CUDA):
        assert settings() == EXACT

    assert settings() == before


@newer
def test_on_older_torch_the_older_settings_do_the_same(monkeypatch):
    torch.set_float32_matmul_precision("medium")
    monkeypatch.delattr(type(CUDNN), "conv")

    with exact_products(CUDA):
        assert (CUDNN.allow_tf32, torch.get_float32_matmul_precision()) == (False, "highest")

    assert (CUDNN.allow_tf32, torch.get_float32_matmul_precision()) == (True, "medium")


def test_products_stay_exact_until_the_last_thread_has_left():
    before = settings()
    first, second = ExitStack(), ExitStack()  # as of two threads
    first.enter_context(exact_products(CUDA))
    second.enter_context(exact_products(CUDA))

    first.close()
    assert settings() == EXACT

    second.close()
    assert settings() == before


def test_for_a_cpu_nothing_is_changed():
    before = settings()
    with exact_products(torch.device("cpu")):
        assert settings() == before
