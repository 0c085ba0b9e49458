"""Work on a stream, captured once and replayed with a single call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from affectrt.bundle.errors import EngineError

from .nvidia import cuda_value

__all__ = ["CudaGraph"]


class CudaGraph:
    """What `work` puts on the stream, as a graph; `stream` is the handle of a stream that must outlive it.

    A graph holds the addresses and shapes of its capture: after a change of either it must be made anew. Raises
    EngineError when CUDA refuses any step; the stream is then out of capture and usable as before.
    """

    def __init__(self, cuda: Any, stream: int, work: Callable[[], None]) -> None:
        self._cuda = cuda
        self._stream = cuda.CUstream(stream)
        self._executable: Any = None
        graph = self._captured(work)
        try:
            self._executable = cuda_value(cuda, cuda.cuGraphInstantiate(graph, 0), "instantiating a CUDA graph")
        finally:
            cuda.cuGraphDestroy(graph)
        try:
            cuda_value(cuda, cuda.cuGraphUpload(self._executable, self._stream), "uploading a CUDA graph")
        except BaseException:
            self.close()
            raise

    def launch(self) -> None:
        """Put the whole graph on its stream."""
        answer = self._cuda.cuGraphLaunch(self._executable, self._stream)
        if answer[0] != self._cuda.CUresult.CUDA_SUCCESS:
            cuda_value(self._cuda, answer, "launching a CUDA graph")

    def close(self) -> None:
        executable, self._executable = self._executable, None
        if executable is not None:
            cuda_value(self._cuda, self._cuda.cuGraphExecDestroy(executable), "freeing a CUDA graph")

    def _captured(self, work: Callable[[], None]) -> Any:
        cuda = self._cuda
        # Other threads may allocate meanwhile: only this thread's calls are held to what a capture allows.
        mode = cuda.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        cuda_value(cuda, cuda.cuStreamBeginCapture(self._stream, mode), "beginning a capture")
        try:
            work()
            graph = cuda_value(cuda, cuda.cuStreamEndCapture(self._stream), "ending a capture")
        except BaseException:
            self._abandon()
            raise
        if not int(graph):
            raise EngineError("ending a capture gave no graph")
        return graph

    def _abandon(self) -> None:
        """Out of the capture, whatever it holds: a stream that still captures can neither wait nor be freed."""
        cuda = self._cuda
        answer = cuda.cuStreamIsCapturing(self._stream)
        if answer[0] == cuda.CUresult.CUDA_SUCCESS and (
            answer[1] == cuda.CUstreamCaptureStatus.CU_STREAM_CAPTURE_STATUS_NONE
        ):
            return
        status, graph = cuda.cuStreamEndCapture(self._stream)
        if status == cuda.CUresult.CUDA_SUCCESS and int(graph):
            cuda.cuGraphDestroy(graph)
