"""Reads a request's body, bounded in size and time. Knows no content."""

from __future__ import annotations

import asyncio

from aiohttp import web

from serving.frontend.errors import RequestError, invalid


async def read_body(request: web.BaseRequest, max_bytes: int, timeout_s: float) -> bytes:
    """The whole body. Raises RequestError 413 (as soon as it is known), 408 or 400 (a broken body)."""
    declared = request.content_length
    if declared is not None and declared > max_bytes:
        raise _too_large(max_bytes)
    if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")  # curl waits for it before it sends a large body
    pieces: list[bytes] = []
    num_bytes = 0
    try:
        async with asyncio.timeout(timeout_s):
            async for piece in request.content.iter_any():
                num_bytes += len(piece)
                if num_bytes > max_bytes:
                    raise _too_large(max_bytes)
                pieces.append(piece)
    except TimeoutError:
        message = f"the body did not arrive within {timeout_s:g} s (serving.http.body_timeout_s)"
        raise RequestError(408, "body_timeout", message, headers={"Connection": "close"}) from None
    except (web.RequestPayloadError, ValueError) as error:
        raise invalid("body", f"broken: {error}", "invalid_body") from error
    return b"".join(pieces)


def _too_large(max_bytes: int) -> RequestError:
    message = f"the body exceeds {max_bytes} bytes (serving.http.max_body_bytes)"
    return RequestError(413, "body_too_large", message, field="body", headers={"Connection": "close"})
