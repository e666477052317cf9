"""A stand-in for Orthanc that hands files out of memory, as `stand_in.py ADDRESS PORT URL`, so the limit is elsewhere.

What isn't a file goes on to the Orthanc at URL, as does each file the first time.
"""

from __future__ import annotations

import asyncio
import sys

import urllib3

# The bodies of files; whatever else Orthanc says may change.
_FILES = ("/attachments/dicom/data", "/file")
_KEPT = {"etag", "content-type"}


class StandIn:
    def __init__(self, url: str) -> None:
        self._url = url
        self._pool = urllib3.PoolManager(maxsize=32)
        self._files: dict[str, bytes] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode("latin-1").split("\r\n")
                method, path, _ = lines[0].split(" ")
                headers = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
                length = next((int(value) for name, value in headers.items() if name.lower() == "content-length"), 0)
                body = await reader.readexactly(length) if length else b""
                answer = self._files.get(path)
                if answer is None or method != "GET":
                    answer = await asyncio.to_thread(self._ask, method, path, headers, body)
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _ask(self, method: str, path: str, headers: dict[str, str], body: bytes) -> bytes:
        found = self._pool.request(method, self._url + path, body=body or None, headers=headers, decode_content=False)
        kept = [f"{name}: {value}" for name, value in found.headers.items() if name.lower() in _KEPT]
        lines = [f"HTTP/1.1 {found.status} As-It-Was", *kept, f"Content-Length: {len(found.data)}", "", ""]
        answer = "\r\n".join(lines).encode("latin-1") + found.data
        if method == "GET" and found.status == 200 and path.endswith(_FILES):
            self._files[path] = answer
        return answer


async def main(address: str, port: int, url: str) -> None:
    server = await asyncio.start_server(StandIn(url).serve, address, port, limit=2**20)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
