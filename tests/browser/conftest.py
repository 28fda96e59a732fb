"""A real JupyterLab and a real Chromium for each test module.

MEDFUSION_BROWSER_SLOWDOWN=6 has each page computed six times slower: what is racy on a busy machine then shows here.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOKEN = "browser-test"
PATIENCE_MS = 120_000
"""No test asserts on time: how long a busy machine may take for what an idle one does at once."""


class Lab:
    """A JupyterLab of its own: home, settings and notebooks below one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notebooks = folder / "notebooks"
        self.home = folder / "medfusion"
        self.notebooks.mkdir()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        places = {
            "MEDFUSION_HOME": self.home,
            "JUPYTER_CONFIG_DIR": folder / "config",
            "JUPYTER_DATA_DIR": folder / "data",
            "JUPYTER_RUNTIME_DIR": folder / "runtime",
            "JUPYTERLAB_SETTINGS_DIR": folder / "settings",
            "JUPYTERLAB_WORKSPACES_DIR": folder / "workspaces",
            "IPYTHONDIR": folder / "ipython",
        }
        news = folder / "settings" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
        news.parent.mkdir(parents=True)
        news.write_text('{"fetchNews": "false"}')
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--expose-app-in-browser"]
        command += ["--JupyterNotebookApp.expose_app_in_browser=True"]
        command += [f"--port={self.port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={TOKEN}"]
        command += [f"--notebook-dir={self.notebooks}"]
        self.log = folder / "lab.log"
        self.process = subprocess.Popen(
            command,
            env={**os.environ, **{name: str(path) for name, path in places.items()}},
            stdout=self.log.open("w"),
            stderr=subprocess.STDOUT,
        )
        until = time.monotonic() + 120
        while not self._answers():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < until, self.log.read_text()
            time.sleep(0.2)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.url("api"), timeout=5):
                return True
        except OSError:
            return False

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}/{path}?token={TOKEN}"

    def ask(self, path: str):
        """GET the server's JSON."""
        with urllib.request.urlopen(self.url(path), timeout=20) as answer:
            return json.load(answer)

    def jobs(self) -> dict[str, dict]:
        return {job["job_id"]: job for job in self.ask("medfusion/api/training/list")["items"]}

    def write(self, name: str, *cells: str) -> None:
        """A notebook with these code cells."""
        import nbformat

        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        )
        nbformat.write(notebook, self.notebooks / name)

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    lab = Lab(tmp_path_factory.mktemp("lab"))
    yield lab
    lab.close()


@pytest.fixture(scope="module")
def browser():
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no chromium on the PATH: install Debian's package chromium to run the browser tests")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        yield browser
        browser.close()


class Tab:
    """A browser tab on the Lab, with what a person does in it."""

    def __init__(self, page, lab: Lab) -> None:
        self.page = page
        self.lab = lab
        self.errors: list[str] = []
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def open(self, notebook: str) -> None:
        # without what an earlier test left open
        self.page.goto(self.lab.url(f"lab/tree/{notebook}") + "&reset")
        self.ready()

    def ready(self) -> None:
        """The notebook is there and its kernel waits for work."""
        self.ready_busy()
        self.page.wait_for_function(
            "window.jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
        )

    def ready_busy(self) -> None:
        """As `ready`, for a kernel that is at work."""
        self.page.wait_for_selector(".jp-Notebook")
        self.page.wait_for_function("window.jupyterapp && window.jupyterapp.restored")
        self.page.evaluate("window.jupyterapp.restored.then(() => true)")

    def command(self, name: str, **arguments) -> None:
        self.page.evaluate("([name, args]) => { window.jupyterapp.commands.execute(name, args); }", [name, arguments])

    def run_all(self) -> None:
        self.command("notebook:run-all-cells")

    def show_panel(self) -> None:
        self.command("medfusion:open-panel")
        self.page.wait_for_selector("#medfusion-panel:visible")

    def row(self, job_id: str, status: str = ""):
        end = f"[data-status='{status}']" if status else ""
        return self.page.locator(f"#medfusion-panel li[data-job-id='{job_id}']{end}")

    def shot(self, name: str) -> None:
        """A picture to look at, where MEDFUSION_SCREENSHOTS names a folder."""
        folder = os.environ.get("MEDFUSION_SCREENSHOTS")
        if folder:
            self.page.screenshot(path=Path(folder) / f"{name}.png")


@pytest.fixture
def tab(browser, lab, request):
    context = browser.new_context(viewport={"width": 1500, "height": 1000})
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    slowdown = float(os.environ.get("MEDFUSION_BROWSER_SLOWDOWN", 1))
    if slowdown > 1:
        context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": slowdown})
    tab = Tab(page, lab)
    yield tab
    tab.shot(f"last-of-{request.node.name}")
    context.close()
