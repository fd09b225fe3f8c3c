"""Measure the service's throughput and latency, next to a plain FastAPI endpoint.

    python benchmarks/service.py                    # a minute and a half
    python benchmarks/service.py --clients 64 --rounds 5 --only binary

Both run on uvicorn with httptools and uvloop, one process each, and are loaded in turn by another
process over loopback: so many clients, each of which sends its next request when it has the answer
to the last. The plain endpoint is what one writes first: ONNX Runtime and the same digit.onnx,
without checks of what goes in and comes out, limits, metrics or batches.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from fastapi import Body, FastAPI, Request
from PIL import Image
from pydantic import BaseModel

from mnistnet import data
from mnistnet.inference.predictor import DEFAULT_BUNDLE, Predictor

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
KINDS = ("binary", "json", "picture")
N_IMAGES = 64  # test images, which the clients send in turn
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


# ---- the plain endpoint


class Images(BaseModel):
    """The body of a request in JSON: images (N, 28, 28)."""

    images: list[list[list[int]]]


def plain() -> FastAPI:
    """Return the application that the service is compared with."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(DEFAULT_BUNDLE / "digit.onnx", options)
    predictor = Predictor()
    app = FastAPI()

    @app.post("/json")
    def classify(body: Images) -> list[list[float]]:
        images = np.array(body.images, np.uint8)
        probabilities: list[list[float]] = session.run(None, {"images": images})[0].tolist()
        return probabilities

    @app.post("/binary")
    async def classify_bytes(request: Request) -> list[list[float]]:
        images = np.frombuffer(await request.body(), np.uint8).reshape(-1, 28, 28)
        probabilities: list[list[float]] = session.run(None, {"images": images})[0].tolist()
        return probabilities

    @app.post("/picture")
    def predict(body: Annotated[bytes, Body(media_type="image/png")]) -> dict[str, Any]:
        prediction = predictor.predict(body)
        return {"digit": prediction.digit, "probabilities": prediction.probabilities.tolist()}

    return app


# ---- requests, to the service and to the plain endpoint


def request(kind: str, image: np.ndarray, *, plainly: bool) -> bytes:
    """Return the bytes of a request for one image, uint8 (28, 28)."""
    headers = ""
    if kind == "picture":
        file = io.BytesIO()
        Image.fromarray(image).save(file, "PNG")
        path, body, media_type = "/picture" if plainly else "/predict", file.getvalue(), "image/png"
    elif plainly:
        path = f"/{kind}"
        body = image.tobytes() if kind == "binary" else _json({"images": [image.tolist()]})
        media_type = "application/json" if kind == "json" else "application/octet-stream"
    else:
        path, media_type = "/v2/models/digit/infer", "application/json"
        tensor: dict[str, Any] = {"name": "images", "datatype": "UINT8", "shape": [1, 28, 28]}
        if kind == "json":
            body = _json({"inputs": [tensor | {"data": image.ravel().tolist()}]})
        else:
            tensor["parameters"] = {"binary_data_size": image.size}
            parameters = {"binary_data_output": True}
            start = _json({"inputs": [tensor], "parameters": parameters})
            body, media_type = start + image.tobytes(), "application/octet-stream"
            headers = f"Inference-Header-Content-Length: {len(start)}\r\n"
    head = f"POST {path} HTTP/1.1\r\nHost: service\r\nContent-Type: {media_type}\r\n{headers}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _json(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def read_digit(body: bytes) -> int:
    """Return the digit in any of the answers."""
    if body[:1] in b"{[" and b"binary_data_size" not in body:
        answer = json.loads(body)
        if "digit" in answer:
            return int(answer["digit"])
        flat = answer["outputs"][0]["data"] if "outputs" in answer else answer[0]
        return int(np.argmax(flat))
    return int(np.frombuffer(body[-40:], "<f4").argmax())


# ---- the load, in a process of its own


class Client(asyncio.Protocol):
    """Sends one request after the other over one connection, until its time is up."""

    def __init__(self, requests: list[tuple[bytes, int]], end: float) -> None:
        self.requests, self.end = requests, end
        self.latencies_s: list[float] = []
        self.digits: list[tuple[int, bytes]] = []  # that are right, and what was answered
        self.done = asyncio.get_running_loop().create_future()
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self.transport: Any = transport
        self._send()

    def data_received(self, received: bytes) -> None:
        """Take an answer, and send the next request."""
        self._answer += received
        head, separator, body = self._answer.partition(b"\r\n\r\n")
        if not separator:
            return
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        assert length, head
        if len(body) < int(length[1]):
            return
        assert b" 200 " in head[:16], self._answer
        self.latencies_s.append(time.perf_counter() - self._started)
        self.digits.append((self._digit, body))
        self._answer = b""
        if self._started < self.end:
            self._send()
        else:
            self.transport.close()
            self.done.set_result(None)

    def _send(self) -> None:
        content, self._digit = self.requests[len(self.latencies_s) % len(self.requests)]
        self._started = time.perf_counter()
        self.transport.write(content)


async def load(port: int, kind: str, clients: int, seconds: float, *, plainly: bool) -> None:
    """Load a server, and print what was measured as JSON. A wrong answer is an error."""
    images = data.load(ROOT / "data" / "mnist").test.images[:N_IMAGES]
    digits = Predictor().classify(images).argmax(axis=1).tolist()
    requests = [
        (request(kind, image, plainly=plainly), digit)
        for image, digit in zip(images, digits, strict=True)
    ]
    loop = asyncio.get_running_loop()
    started, used = time.perf_counter(), time.process_time()
    end = started + seconds
    connected = [
        await loop.create_connection(
            lambda i=i: Client(requests[i:] + requests[:i], end),  # type: ignore[misc]
            *("127.0.0.1", port),
        )
        for i in range(clients)
    ]
    await asyncio.gather(*(client.done for _, client in connected))
    wall, used = time.perf_counter() - started, time.process_time() - used
    latencies_s = np.concatenate([client.latencies_s for _, client in connected])
    for _, client in connected:
        assert all(digit == read_digit(body) for digit, body in client.digits)
    p50, p99 = np.quantile(latencies_s, (0.5, 0.99)) * 1000
    n = len(latencies_s)
    found = {"n": n, "per_s": n / wall, "p50_ms": p50, "p99_ms": p99}
    found |= {"load_cores": used / wall}
    print(json.dumps({name: float(figure) for name, figure in found.items()}))


# ---- measuring


@dataclass(frozen=True)
class Cell:
    """What was measured of one server, in one round."""

    per_s: float
    p50_ms: float
    p99_ms: float
    load_cores: float  # that the load took; two are there
    server_cores: float
    server_us: float  # of processor time that the server took for a request


@contextmanager
def serving(*, plainly: bool) -> Iterator[tuple[int, int]]:
    """Start a server; yield its port, and its process."""
    if plainly:
        command = ["uvicorn", "service:plain", "--factory", "--no-access-log"]
        command += ["--port", "0", "--app-dir", str(Path(__file__).parent)]
    else:
        command = ["mnistnet", "serve", "--port", "0"]
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout
    try:
        port = next(m for line in process.stdout if (m := re.search(r"127.0.0.1:(\d+)", line)))
        yield int(port[1]), process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate()


def measure(port: int, pid: int, kind: str, clients: int, seconds: float, plainly: bool) -> Cell:
    """Load a server from another process."""
    words = [str(port), kind, str(clients), str(seconds), str(int(plainly))]
    before = _cpu_s(pid)
    done = subprocess.run(
        [sys.executable, __file__, "load", *words], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    found = json.loads(done.stdout)
    used, n = _cpu_s(pid) - before, found.pop("n")
    return Cell(**found, server_cores=used * found["per_s"] / n, server_us=used / n * 1e6)


def _cpu_s(pid: int) -> float:
    """Return the processor time that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def main() -> None:
    """Measure both servers in turn, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    parser.add_argument("--only", choices=KINDS, nargs="+", default=KINDS)
    options = parser.parse_args()
    print(
        "kind     clients  server   requests/s   p50 ms   p99 ms"
        "  cores: server, load   µs each   ratio"
    )
    with serving(plainly=False) as service, serving(plainly=True) as other:
        servers = {"service": service, "plain": other}
        for kind in options.only:
            for name, (port, pid) in servers.items():  # warm
                measure(port, pid, kind, 8, 0.3, name == "plain")
            for clients in options.clients:
                cells: dict[str, list[Cell]] = {name: [] for name in servers}
                for _ in range(options.rounds):
                    for name, (port, pid) in servers.items():
                        plainly = name == "plain"
                        cell = measure(port, pid, kind, clients, options.seconds, plainly)
                        cells[name].append(cell)
                _print(kind, clients, cells)


def _print(kind: str, clients: int, cells: dict[str, list[Cell]]) -> None:
    """Print the medians of all rounds, and the range of the ratios of each."""
    for name, measured in cells.items():
        middle = {
            field: statistics.median(getattr(cell, field) for cell in measured)
            for field in Cell.__dataclass_fields__
        }
        ratios = [
            service.per_s / other.per_s
            for service, other in zip(cells["service"], cells["plain"], strict=True)
        ]
        ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"
        print(
            f"{kind:8} {clients:7}  {name:8} {middle['per_s']:9,.0f} {middle['p50_ms']:8.2f}"
            f" {middle['p99_ms']:8.2f}  {middle['server_cores']:13.2f} {middle['load_cores']:5.2f}"
            f" {middle['server_us']:9,.0f}"
            f"   {ratio if name == 'service' else ''}",
            flush=True,
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["load"]:
        import uvloop

        port, kind, clients, seconds, plainly = sys.argv[2:]
        uvloop.run(load(int(port), kind, int(clients), float(seconds), plainly=bool(int(plainly))))
    else:
        main()
