"""The memory of one batch size: allocated once, for the processor and for the GPU."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np

from .base import Array, TensorSpec

__all__ = ["DeviceBuffers"]


class DeviceBuffers:
    """Page-locked arrays in `host`, of `rows` rows for each tensor, and the `addresses` at which the GPU finds them.

    `mapped`: the GPU reads and writes the page-locked memory itself, so that nothing is copied; right where processor
    and GPU share one memory. Otherwise each tensor lies in the GPU's own memory too, and `copy_in` and `copy_out` put
    copies on a stream. Every array starts with zeros. The context must be current here, and in `close`.
    """

    def __init__(
        self,
        pycuda: Any,
        inputs: Mapping[str, TensorSpec],
        outputs: Mapping[str, TensorSpec],
        *,
        rows: int,
        mapped: bool,
    ) -> None:
        self._pycuda = pycuda
        self._inputs = tuple(inputs)
        self._outputs = tuple(outputs)
        self._device: dict[str, Any] = {}
        self.host: dict[str, Array] = {}
        self.addresses: dict[str, int] = {}
        # PyCUDA would free memory when the last reference goes, which may be too late for its context.
        with ExitStack() as stack:
            stack.callback(self._forget)
            flags = pycuda.host_alloc_flags.DEVICEMAP if mapped else 0
            for name, spec in (*inputs.items(), *outputs.items()):
                array = pycuda.pagelocked_empty((rows, *spec.shape), np.dtype(spec.dtype), "C", flags)
                stack.callback(array.base.free)
                array[...] = 0
                self.host[name] = array
                if mapped:
                    self.addresses[name] = int(array.base.get_device_pointer())
                else:
                    self._device[name] = pycuda.mem_alloc(array.nbytes)
                    stack.callback(self._device[name].free)
                    self.addresses[name] = int(self._device[name])
            self._stack = stack.pop_all()

    def copy_in(self, stream: Any) -> None:
        """Put the copies of all inputs on the stream."""
        if self._device:
            for name in self._inputs:
                self._pycuda.memcpy_htod_async(self._device[name], self.host[name], stream)

    def copy_out(self, stream: Any) -> None:
        """Put the copies of all outputs on the stream."""
        if self._device:
            for name in self._outputs:
                self._pycuda.memcpy_dtoh_async(self.host[name], self._device[name], stream)

    def close(self) -> None:
        self._stack.close()

    def _forget(self) -> None:
        self.host.clear()
        self.addresses.clear()
        self._device.clear()
