"""One small file from a server, into memory: by HTTPS alone, never more than was expected, never for ever."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from time import monotonic
from typing import IO
from urllib.parse import urlsplit

from affectrt.bundle.errors import MediaError

__all__ = ["fetch"]

SILENCE_S = 20.0
WHOLE_S = 300.0
_CHUNK = 1 << 16


def fetch(
    url: str,
    size_bytes: int,
    progress: Callable[[int, int], None] | None = None,
    *,
    silence_s: float = SILENCE_S,
    whole_s: float = WHOLE_S,
) -> bytes:
    """The bytes behind `url`, at most `size_bytes` of them; `progress` is told how many of how many came.

    HTTPS, or HTTP on this very machine; redirects as well. MediaError when the server refuses, sends more, breaks off,
    is silent for `silence_s` or not done in `whole_s`. Proxies are taken from the environment.
    """
    _check(url)
    handlers: list[urllib.request.BaseHandler] = [_SafeRedirects()]
    if _local(url):
        handlers.append(urllib.request.ProxyHandler({}))
    opener = urllib.request.build_opener(*handlers)
    content = bytearray()
    until = monotonic() + whole_s
    try:
        with opener.open(urllib.request.Request(url, headers={"User-Agent": "affectrt"}), timeout=silence_s) as answer:
            while chunk := answer.read1(_CHUNK):
                content += chunk
                if len(content) > size_bytes:
                    raise _refused(url, f"sends more than the {size_bytes} bytes expected")
                if monotonic() > until:
                    raise _refused(url, f"has sent {len(content)} of {size_bytes} bytes in {whole_s:g} s")
                if progress is not None:
                    progress(len(content), size_bytes)
    except urllib.error.HTTPError as error:
        raise _refused(url, f"answers {error.code} {error.reason}") from None
    except urllib.error.URLError as error:
        raise _refused(url, f"cannot be reached: {error.reason}") from None
    except TimeoutError:
        raise _refused(url, f"said nothing for {silence_s:g} s after {len(content)} of {size_bytes} bytes") from None
    except (http.client.HTTPException, OSError) as error:
        raise _refused(url, f"broke off after {len(content)} of {size_bytes} bytes: {error!r}") from None
    if len(content) < size_bytes:
        raise _refused(url, f"broke off after {len(content)} of {size_bytes} bytes")
    return bytes(content)


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if urlsplit(newurl).scheme != "https" and not (_local(req.full_url) and _local(newurl)):
            raise _refused(req.full_url, f"sends us on to {urlsplit(newurl).scheme or 'no'}:, which is not HTTPS")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check(url: str) -> None:
    if urlsplit(url).scheme != "https" and not _local(url):
        raise _refused(url, "is not HTTPS")


def _local(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")


def _refused(url: str, why: str) -> MediaError:
    return MediaError(f"{url} {why}", fix="try again, or fetch the file elsewhere and give it with --from FILE")
