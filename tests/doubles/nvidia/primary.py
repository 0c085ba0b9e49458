"""The primary context made current, by cuda-bindings alone, and the way out of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["check", "primary_context"]


def check(result: tuple[Any, ...]) -> Any:
    """What a call of cuda-bindings returned, without its status."""
    assert int(result[0]) == 0, result[0]
    return result[1] if len(result) == 2 else result[1:]


@contextmanager
def primary_context() -> Iterator[None]:
    """Current in this thread inside the block."""
    from cuda.bindings import driver

    check(driver.cuInit(0))
    check(driver.cuCtxPushCurrent(check(driver.cuDevicePrimaryCtxRetain(0))))
    try:
        yield
    finally:
        driver.cuCtxPopCurrent()
        driver.cuDevicePrimaryCtxRelease(0)
