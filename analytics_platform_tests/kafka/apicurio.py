"""Apicurio Registry, which speaks Confluent's API: a real one from Maven, for tests."""

import os
import shutil
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
from pathlib import Path

VERSION = "3.0.9"
START_S = 120.0
_FOLDER = Path.home() / ".cache" / "analytics-platform" / f"apicurio-registry-{VERSION}"


def fetched() -> Path:
    """Its runner's jar; Maven fetches it the first time, some 200 MB."""
    jar = _FOLDER / f"apicurio-registry-app-{VERSION}-runner.jar"
    if not jar.exists():
        part = _FOLDER.with_name(f"{_FOLDER.name}-{os.getpid()}")
        artifact = f"io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all"
        command = ["mvn", "-q", "-B", "dependency:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={part}"]
        subprocess.run(command, check=True, capture_output=True, timeout=600)
        (archive,) = part.glob("*.tar.gz")
        with tarfile.open(archive) as packed:
            packed.extractall(part, filter="data")
        archive.unlink()
        shutil.rmtree(_FOLDER, ignore_errors=True)
        part.rename(_FOLDER)
    return jar


class Apicurio:
    """One registry on loopback, which keeps nothing."""

    def __init__(self, folder: Path, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/apis/ccompat/v7"
        options = ["-Xmx400m", "-XX:+UseSerialGC", "-Dquarkus.http.host=127.0.0.1", f"-Dquarkus.http.port={port}"]
        with (folder / "apicurio.log").open("wb") as log:
            command = ["java", *options, "-jar", str(fetched())]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/subjects", timeout=5):  # noqa: S310 - our own process
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        raise AssertionError("Apicurio Registry did not come up")
