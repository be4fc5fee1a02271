"""A real S3 server for tests: versitygw on a loopback port, its objects in a temporary folder."""

from __future__ import annotations

import os
import secrets
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from require import versitygw
from servers import free_port, wait_for

REGION = "us-east-1"


@dataclass(frozen=True)
class S3Server:
    """Where it listens, and the environment its clients need."""

    endpoint_url: str
    env: dict[str, str]


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Starts the server with credentials of its own. Call `require("versitygw")` first."""
    binary = versitygw()
    assert binary is not None
    port = free_port()
    access, secret = secrets.token_hex(8), secrets.token_hex(16)
    # Objects' metadata go to a side folder: a temporary file system may have no extended attributes.
    with tempfile.TemporaryDirectory(prefix="medal-s3-") as root:
        for name in ("data", "meta"):
            (Path(root) / name).mkdir()
        process = subprocess.Popen(
            [binary, "--quiet", "--port", f"127.0.0.1:{port}", "--region", REGION]
            + ["posix", "--sidecar", f"{root}/meta", f"{root}/data"],
            env={**os.environ, "ROOT_ACCESS_KEY": access, "ROOT_SECRET_KEY": secret},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for(port, process)
            env = {"AWS_ACCESS_KEY_ID": access, "AWS_SECRET_ACCESS_KEY": secret, "AWS_DEFAULT_REGION": REGION}
            yield S3Server(
                f"http://127.0.0.1:{port}", {**env, "AWS_REGION": REGION, "AWS_EC2_METADATA_DISABLED": "true"}
            )
        finally:
            process.terminate()
            process.wait(10)
