"""What clients, disks and signals do to the service, as real processes over loopback."""

from __future__ import annotations

import asyncio
import http.client
import io
import json
import os
import random
import re
import signal
import socket
import subprocess
import time
import urllib.request
from collections import Counter
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import httpx
import numpy as np
import pytest
from anyio.from_thread import start_blocking_portal
from PIL import Image
from test_serve import png, serving

from mnistnet.inference import Predictor
from mnistnet.serving.limits import BODY_S, MAX_BODY_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.slow
HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\n"
ON_LINUX = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")


def connect(address: str) -> socket.socket:
    """Open a connection that a test does what it wants with."""
    host, port = address.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=2 * BODY_S)


def ask(address: str, picture: bytes) -> int | None:
    """Return the digit in a picture."""
    with urllib.request.urlopen(f"{address}/predict", picture, timeout=60) as answer:
        return json.load(answer)["digit"]


def read_metrics(address: str) -> dict[str, float]:
    with urllib.request.urlopen(f"{address}/metrics", timeout=60) as answer:
        lines = [line for line in answer.read().decode().splitlines() if line[:1] != "#"]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def until(happened: Callable[[], object]) -> None:
    """Look again and again until something has happened."""
    end = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.05)


def peak_bytes(pid: int) -> int:
    """Return the most memory that a process has had since it was last asked."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="utf-8")
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) * 1024


def test_slow_and_idle_clients_are_dropped_while_others_are_served(
    images: np.ndarray, labels: np.ndarray
) -> None:
    with serving() as (_, address):
        idle, headers, second, body, deaf = (connect(address) for _ in range(5))
        second.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        received = b""
        while not received.endswith(b"}"):
            received += second.recv(10_000)
        headers.sendall(HEAD)
        body.sendall(HEAD + b"Content-Length: 1000\r\n\r\n")
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.setblocking(False)

        def drip() -> None:
            """Send a byte at a time for as long as the service takes it."""
            left = {headers: b"X-Slow: " + b"a" * 1000, second: b"GET /" + b"a" * 1000, body: b"a"}
            while left:
                time.sleep(0.5)
                for sender in list(left):
                    try:
                        sender.send(left[sender][:1])
                        left[sender] = left[sender][1:] or b"a"
                    except OSError:
                        del left[sender]
                try:  # asks for a lot, and takes nothing of it
                    deaf.send(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
                except BlockingIOError:
                    pass
                except OSError:
                    continue

        thread = Thread(target=drip, daemon=True)
        thread.start()
        for dropped in (idle, headers, second):
            assert read_to_end(dropped) == b""
            assert ask(address, png(images[0])) == labels[0]
        assert read_to_end(body).startswith(b"HTTP/1.1 408")
        thread.join()
        until(lambda: read_metrics(address)["mnistnet_requests_in_flight"] == 1)
        deaf.close()


def read_to_end(connection: socket.socket) -> bytes:
    """Return what is sent until the connection ends, however it ends."""
    received = b""
    try:
        while part := connection.recv(65_536):
            received += part
    except ConnectionResetError:
        pass
    connection.close()
    return received


def test_garbage_truncated_uploads_and_disconnects_do_no_harm(
    images: np.ndarray, labels: np.ndarray
) -> None:
    draws = random.Random(1)
    starts = (b"", b"GET ", HEAD, HEAD + b"Content-Length: -1\r\n\r\n", b"\x16\x03\x01", b"PRI * ")
    with serving() as (process, address):
        for i in range(300):
            connection = connect(address)
            connection.sendall(starts[i % len(starts)] + draws.randbytes(i))
            connection.shutdown(socket.SHUT_WR)
            assert b"500 Internal" not in read_to_end(connection)
        for i in range(100):  # truncated, and left before the answer
            connection = connect(address)
            length = 1000 if i % 2 else 10
            kind = b"multipart/form-data; boundary=x" if i % 3 else b"image/png"
            head = b"Content-Type: %b\r\nContent-Length: %d\r\n\r\n" % (kind, length)
            connection.sendall(HEAD + head + bytes(10))
            connection.close()
        until(lambda: read_metrics(address)["mnistnet_requests_in_flight"] == 1)
        assert ask(address, png(images[0])) == labels[0]
        lost = read_metrics(address)['mnistnet_requests_total{path="none",status="499"}']
        assert lost >= 40
        assert process.poll() is None


def test_headers_without_end_are_cut_off() -> None:
    with serving() as (_, address):
        for start in (b"GET /health HTTP/1.1\r\nX: ", b"GET /health?"):
            connection = connect(address)
            connection.sendall(start)
            sent = 0
            try:
                while sent < 64 * 2**20:
                    sent += connection.send(b"a" * 65_536)
            except OSError:
                pass
            assert sent < 64 * 2**20
            connection.close()
        connection = connect(address)
        connection.sendall(b"GET /health HTTP/1.1\r\n" + b"a: b\r\n" * 50_000 + b"\r\n")
        read_to_end(connection)
        with urllib.request.urlopen(f"{address}/health", timeout=60) as answer:
            assert answer.status == 200


@ON_LINUX
def test_bombs_take_little_memory(images: np.ndarray, labels: np.ndarray) -> None:
    bombs = []
    for side in (30_000, 8_000, 5_001):
        file = io.BytesIO()
        Image.new("1", (side, side)).save(file, "PNG")
        bombs.append(file.getvalue())
    with serving() as (process, address):
        ask(address, png(images[0]))
        peak_bytes(process.pid)
        before = peak_bytes(process.pid)
        for bomb in bombs * 3:
            answer = httpx.post(f"{address}/predict", content=bomb, timeout=60)
            assert answer.status_code == 400
            assert "megapixels" in answer.json()["error"]
        for encoding in ("gzip", "deflate", "br"):
            answer = httpx.post(
                f"{address}/predict", content=bytes(100), headers={"Content-Encoding": encoding}
            )
            assert answer.status_code == 400
        assert (
            httpx.post(f"{address}/predict", content=bytes(3 * MAX_BODY_BYTES)).status_code == 413
        )
        assert ask(address, png(images[0])) == labels[0]
        assert peak_bytes(process.pid) < before + 100e6


@pytest.mark.parametrize("workers", [1, 2])
def test_sigterm_finishes_what_is_in_flight(
    images: np.ndarray, labels: np.ndarray, workers: int
) -> None:
    picture = png(images[0])
    with serving("--workers", workers) as (process, address):
        begun = [connect(address) for _ in range(8)]
        for connection in begun:
            connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(picture) + picture[:9])
        until(lambda: read_metrics(address)["mnistnet_requests_in_flight"] == 9)
        process.send_signal(signal.SIGTERM)
        until(lambda: is_refused(address))
        for connection in begun:
            connection.sendall(picture[9:])
            head, body = read_to_end(connection).split(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            assert json.loads(body)["digit"] == labels[0]
        assert process.wait(60) == 0


def is_refused(address: str) -> bool:
    try:
        connect(address).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_service_starts_again_at_the_same_address(
    images: np.ndarray, labels: np.ndarray, workers: int
) -> None:
    with serving("--workers", workers) as (process, address):
        ask(address, png(images[0]))
        waiting = connect(address)
        waiting.sendall(HEAD + b"Content-Length: 1000\r\n\r\n")
        process.kill()
        until(lambda: is_refused(address))  # the workers end with their parent
        waiting.close()
    port = address.rsplit(":", 1)[1]
    with serving("--port", port, "--workers", workers) as (_, again):
        assert again == address
        assert ask(address, png(images[0])) == labels[0]


@ON_LINUX
def test_a_worker_that_is_killed_is_replaced(images: np.ndarray, labels: np.ndarray) -> None:
    with serving("--workers", 2) as (process, address):
        for _ in range(50):
            ask(address, png(images[0]))
        before = read_metrics(address)
        assert before[f'mnistnet_predictions_total{{digit="{labels[0]}"}}'] == 50
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        until(lambda: len(workers := worker_pids(children)) == 2 and workers)
        os.kill(worker_pids(children)[0], signal.SIGKILL)
        until(lambda: answers(address, png(images[0]), labels[0]))
        until(lambda: len(worker_pids(children)) == 2)
        after = read_metrics(address)  # what the dead one counted is not lost
        assert after[f'mnistnet_predictions_total{{digit="{labels[0]}"}}'] >= 50


def worker_pids(children: Path) -> list[int]:
    """Return the workers, without multiprocessing's tracker of resources."""
    found = map(int, children.read_text(encoding="utf-8").split())
    return [pid for pid in found if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def answers(address: str, picture: bytes, digit: int) -> bool:
    try:
        return ask(address, picture) == digit
    except (OSError, http.client.HTTPException):
        return False


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_loses_log_lines_and_nothing_else(
    images: np.ndarray, labels: np.ndarray
) -> None:
    with Path("/dev/full").open("wb") as full, serving("--access-log", stderr=full) as served:
        process, address = served
        for _ in range(20):
            assert ask(address, png(images[0])) == labels[0]
        until(lambda: read_metrics(address)["mnistnet_log_lines_lost_total"] >= 20)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def test_nobody_reading_the_log_stops_nothing(images: np.ndarray, labels: np.ndarray) -> None:
    with serving("--access-log", stderr=subprocess.PIPE) as (process, address):
        with httpx.Client(timeout=60) as client:
            for _ in range(2000):  # more than a pipe holds
                assert client.get(f"{address}/health").status_code == 200
        assert ask(address, png(images[0])) == labels[0]
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def test_logs_are_lines_of_json(images: np.ndarray) -> None:
    with serving("--access-log", stderr=subprocess.PIPE) as (process, address):
        ask(address, png(images[0]))
        httpx.get(f"{address}/%0A{{no}}%1B[31mline")
        process.send_signal(signal.SIGTERM)
        lines = [json.loads(line) for line in process.communicate()[1].splitlines()]
    requests = [line for line in lines if line["message"] == "request"]
    assert [line["status"] for line in requests] == [200, 404]
    assert all({"time", "level", "logger", "process"} <= set(line) for line in lines)


@ON_LINUX
def test_ten_thousand_mixed_requests_get_no_wrong_answer_and_leave_no_memory_behind(
    images: np.ndarray,
) -> None:
    with serving() as (process, address):
        mixed = Mixed(address, images)
        with start_blocking_portal() as portal:  # in a thread, as in this one Playwright has a loop
            portal.call(mixed.send, 2000)
            peak_bytes(process.pid)
            before = resident_bytes(process.pid)
            portal.call(mixed.send, 8000)
        assert resident_bytes(process.pid) < before + 20e6
        assert mixed.statuses[500] == 0
        assert mixed.statuses[200] > 5000
        assert process.poll() is None


def resident_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) * 1024


class Mixed:
    """Sends requests of many kinds in a random order, and checks each answer."""

    def __init__(self, address: str, images: np.ndarray) -> None:
        self.address = address
        self.images = images
        self.probabilities = Predictor().classify(images)
        self.pictures = [png(image) for image in images[:50]]
        predictor = Predictor()
        self.digits = [predictor.predict(picture).digit for picture in self.pictures]
        self.draws = random.Random(1)
        self.statuses: Counter[int] = Counter()

    async def send(self, n: int) -> None:
        """Send n requests over 16 connections."""
        limits = httpx.Limits(max_connections=16)
        async with httpx.AsyncClient(base_url=self.address, limits=limits, timeout=120) as client:
            self.client = client
            left = iter(range(n))
            await asyncio.gather(*(self._work(left) for _ in range(16)))

    async def _work(self, left: object) -> None:
        kinds = (self._infer, self._infer, self._infer_json, self._picture, self._bad, self._leave)
        for _ in left:  # type: ignore[attr-defined]
            await self.draws.choice(kinds)()

    async def _post(self, path: str, **options: object) -> httpx.Response:
        answer = await self.client.post(path, **options)  # type: ignore[arg-type]
        self.statuses[answer.status_code] += 1
        return answer

    async def _infer(self) -> None:
        chosen = self.draws.sample(range(len(self.images)), self.draws.randint(1, 8))
        tensor = {"name": "images", "datatype": "UINT8", "shape": [len(chosen), 28, 28]}
        tensor["parameters"] = {"binary_data_size": 784 * len(chosen)}
        start = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}})
        body = start.encode() + self.images[chosen].tobytes()
        headers = {"Inference-Header-Content-Length": str(len(start))}
        answer = await self._post("/v2/models/digit/infer", content=body, headers=headers)
        found = np.frombuffer(answer.content[-40 * len(chosen) :], "<f4").reshape(-1, 10)
        np.testing.assert_allclose(found, self.probabilities[chosen], atol=1e-5)

    async def _infer_json(self) -> None:
        i = self.draws.randrange(len(self.images))
        tensor = {"name": "images", "datatype": "UINT8", "shape": [1, 28, 28]}
        tensor["data"] = self.images[i : i + 1].tolist()
        answer = await self._post("/v2/models/digit/infer", json={"inputs": [tensor]})
        found = answer.json()["outputs"][0]["data"]
        np.testing.assert_allclose(found, self.probabilities[i], atol=1e-5)

    async def _picture(self) -> None:
        chosen = self.draws.sample(range(len(self.pictures)), self.draws.randint(1, 3))
        files = [("picture", (f"{i}.png", self.pictures[i])) for i in chosen]
        answer = await self._post("/predict", files=files)
        found = [prediction["digit"] for prediction in answer.json()["predictions"]]
        assert found == [self.digits[i] for i in chosen]

    async def _bad(self) -> None:
        answer = await self._post("/predict", content=self.draws.randbytes(100))
        assert answer.status_code == 400

    async def _leave(self) -> None:
        host, port = self.address.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        picture = self.draws.choice(self.pictures)
        cut = self.draws.randint(1, len(picture))
        writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % len(picture) + picture[:cut])
        await writer.drain()
        writer.close()


@ON_LINUX
def test_a_worker_that_cannot_load_the_bundle_any_more_ends_the_service(
    bundle: Path, images: np.ndarray, labels: np.ndarray
) -> None:
    with serving("--bundle", bundle, "--workers", 2, stderr=subprocess.PIPE) as (process, address):
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        until(lambda: all(answers(address, png(images[0]), labels[0]) for _ in range(20)))
        (bundle / "digit.onnx").write_bytes(b"")
        os.kill(worker_pids(children)[0], signal.SIGKILL)
        error = process.communicate(timeout=120)[1]
        assert process.returncode == 2
        assert "a new worker could not load it" in error
