"""A jupyter-server in a process of its own, as a person runs it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

TOKEN = "test-token"


class JupyterServer:
    """Serves MEDFUSION_HOME of this test; `ask` calls its REST interface."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.root = folder / "root"
        self.root.mkdir(exist_ok=True, parents=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        places = {
            "JUPYTER_CONFIG_DIR": folder / "config",
            "JUPYTER_DATA_DIR": folder / "data",
            "JUPYTER_RUNTIME_DIR": folder / "runtime",
            "IPYTHONDIR": folder / "ipython",
        }
        command = [sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root"]
        command += [f"--port={self.port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={TOKEN}"]
        command += [f"--ServerApp.root_dir={self.root}", "--ServerApp.jpserver_extensions=medfusion_jupyter=True"]
        self.log = folder / f"server-{self.port}.log"
        self.process = subprocess.Popen(
            [*command, *options],
            env={**os.environ, **{name: str(path) for name, path in places.items()}},
            stdout=self.log.open("w"),
            stderr=subprocess.STDOUT,
        )
        until = time.monotonic() + 60
        while True:
            try:
                self.ask("GET", "medfusion/api/system/health/live")
                return
            except urllib.error.URLError:
                assert self.process.poll() is None, self.log.read_text()
                assert time.monotonic() < until, self.log.read_text()
                time.sleep(0.1)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, body: object = None):
        """The JSON that the server answers. Raises HTTPError."""
        data = None if method == "GET" else b"" if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"token {TOKEN}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/{path}", data=data, method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
            return json.loads(text) if text else None

    def kernels(self) -> list[str]:
        """The ids of the kernels that run."""
        while True:
            try:
                return [kernel["id"] for kernel in self.ask("GET", "api/kernels")]
            except urllib.error.HTTPError as error:
                # jupyter-server itself cannot list a kernel at the moment in which it starts: it has no last_activity yet
                if error.code != 500:
                    raise
                time.sleep(0.1)

    def kill(self) -> None:
        """As a machine does that runs out of memory."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()
