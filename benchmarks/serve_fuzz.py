"""Ten thousand broken requests at the service: no 5xx, nothing stuck, memory flat.

    python benchmarks/serve_fuzz.py RUN [--requests 10000] [--seed 0] [--out FILE]

Mutated images (bits flipped, cut, glued), forms with wrong boundaries, Host, Range, Content-Length and Origin headers
of all sorts, query strings and ids at random. Every hundredth request is a good image, which must be answered 201.
Writes the counts of answers to docs/results/serve-fuzz.json.
"""

from __future__ import annotations

import collections
import json
import random
import re
import socket
import tempfile
import time
from pathlib import Path

from common import parser_of, write_result
from serve_load import Server, images, versions


def mutated(content: bytes, chance: random.Random) -> bytes:
    """An image file with something wrong, or right by chance."""
    data = bytearray(content)
    for _ in range(chance.choice([0, 1, 3, 30])):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    kind = chance.randrange(4)
    if kind == 0:
        del data[chance.randrange(len(data)) :]
    elif kind == 1:
        at = chance.randrange(len(data))
        data[at:at] = chance.randbytes(chance.randrange(200))
    return bytes(data)


def text(chance: random.Random) -> str:
    """A value for a header or a query: plain, long, odd."""
    odd = [
        "",
        "x" * 5000,
        "../../etc/passwd",
        "%00",
        "%ff%fe",
        "-1",
        "9" * 40,
        "NaN",
        "<script>",
        "bytes=0-,1-,2-",
        "\u00e9",
    ]
    return chance.choice([*odd, "".join(chance.choices("abc123%&=;:/.\"'", k=chance.randrange(40)))])


METHODS = ("GET", "GET", "POST", "POST", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "XYZ")
PATHS = (
    "/v1/inspections", "/v1/inspections", "/v1/inspections/{id}", "/v1/inspections/{id}/mask",
    "/v1/inspections/{id}/overlay", "/v1/inspections/{id}/reviews", "/v1/inspections/{id}/painted",
    "/v1/inspections/{id}/preview", "/v1/export", "/v1/model", "/v1/model/promote", "/v1/trainings",
    "/v1/datasets/x/check", "/static/{text}", "/signin", "/", "/metrics", "/openapi.json", "/{text}",
)  # fmt: skip
QUERIES = (
    "name", "lot", "verdict", "since", "until", "before", "limit", "text", "format", "reviewed", "lowest",
)  # fmt: skip
HEADERS = ("Range", "Origin", "Authorization", "Cookie", "Accept", "If-None-Match", "Transfer-Encoding")
TEXTS = (b"{}", b"[", b"null", b'{"decision":"ok"}', b'{"run":"../x"}', b'{"threshold":0.5}', b"\xff")


def request(contents: list[bytes], known: list[str], chance: random.Random) -> bytes:
    """The bytes of one request.

    Args:
        contents: good images.
        known: ids of inspections that are there.
        chance: what to make of them.
    """
    method = chance.choice(METHODS)
    id_ = chance.choice(
        [chance.choice(known), text(chance), "".join(chance.choices("0123456789abcdef", k=32))]
    )
    query = "&".join(f"{name}={text(chance)}" for name in chance.sample(QUERIES, chance.randrange(4)))
    path = chance.choice(PATHS).format(id=id_, text=text(chance)) + (f"?{query}" if query else "")
    kind, body = body_of(contents, chance) if method in {"POST", "PUT", "PATCH"} else ("text/plain", b"")
    headers = {
        "Host": chance.choice(["127.0.0.1", "127.0.0.1", "localhost:80", text(chance)]),
        "Content-Type": kind,
        "Content-Length": chance.choice([str(len(body))] * 6 + [text(chance)]),
        **{name: text(chance) for name in HEADERS if chance.random() < 0.1},
    }
    lines = [f"{method} {path.replace(' ', '%20')} HTTP/1.1", *(f"{n}: {v}" for n, v in headers.items())]
    return "\r\n".join([*lines, "Connection: close"]).encode("latin-1", "replace") + b"\r\n\r\n" + body


def body_of(contents: list[bytes], chance: random.Random) -> tuple[str, bytes]:
    """Content type and body: an image that something is wrong with, alone or in a form, or JSON."""
    image, shape = mutated(chance.choice(contents), chance), chance.randrange(4)
    if shape == 0:
        boundary = chance.choice(["b", "x" * 80, text(chance)])
        used, field = chance.choice([boundary, "other"]), chance.choice(["image", "x", ""])
        head = (
            f'--{used}\r\nContent-Disposition: form-data; name="{field}"; filename="{text(chance)}"\r\n\r\n'
        )
        end = f"\r\n--{used}{chance.choice(['--', ''])}\r\n"
        return f"multipart/form-data; boundary={boundary}", head.encode() + image + end.encode()
    if shape == 1:
        return "application/json", chance.choice(TEXTS)
    return "application/octet-stream", image


def ask(port: int, sent: bytes) -> tuple[str, bytes]:
    """The status of the answer, or what else happened, and the answer's begin.

    Where the service waits for more, as for a body that is shorter than it was said to be, the client hangs up.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=3) as connection:
        try:
            connection.sendall(sent)
            try:
                answer = connection.recv(4096)
            except TimeoutError:
                connection.shutdown(socket.SHUT_WR)
                connection.settimeout(20)
                answer = connection.recv(4096)
        except TimeoutError:
            return "stuck", b""
        except OSError:
            return "closed", b""
    return (answer[9:12].decode("latin-1") if answer.startswith(b"HTTP/1.1 ") else "closed"), answer


def good_request(image: bytes) -> bytes:
    """An inspection as it should be asked for."""
    lines = (
        "POST /v1/inspections HTTP/1.1",
        "Host: 127.0.0.1",
        f"Content-Length: {len(image)}",
        "Connection: close",
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + image


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument(
        "--seconds", type=float, default=3600, help="end after this long, whatever was asked by then"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("docs/results/serve-fuzz.json"))
    given = parser.parse_args()
    chance, contents = random.Random(given.seed), images()
    good = good_request(contents[0])
    counts: collections.Counter[str] = collections.Counter()
    faults: list[str] = []
    known = ["0" * 32]
    with tempfile.TemporaryDirectory() as folder:
        server = Server(given.run, Path(folder))
        memory, started = [], time.monotonic()
        for number in range(given.requests):
            is_good = number % 100 == 0
            sent = good if is_good else request(contents, known, chance)
            status, answer = ask(server.port, sent)
            counts[status] += 1
            if found := re.search(rb'"id":"([0-9a-f]{32})"', answer):
                known.append(found[1].decode())
            if status.startswith("5") or status == "stuck" or (is_good and status != "201"):
                faults.append(f"{number}: {status}: {sent[:200]!r}: {answer[-200:]!r}")
            if number % (given.requests // 10) == 0:
                memory.append(server.memory())
                print(
                    f"{number} requests, {time.monotonic() - started:.0f} s, {memory[-1] // 2**20} MiB",
                    flush=True,
                )
            if time.monotonic() - started > given.seconds:
                break
        memory.append(server.memory())
        code = server.stop()
    result = {
        "requests": sum(counts.values()),
        "seed": given.seed,
        "answers": dict(sorted(counts.items())),
        "faults": faults[:20],
        "memory_growth_after_the_first_tenth": round(memory[-1] / memory[min(1, len(memory) - 2)] - 1, 4),
        "exit_code": code,
        "versions": versions(),
    }
    write_result(given.out, result)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
