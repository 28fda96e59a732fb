"""The wheel holds all that an installation needs, and Jupyter finds both extensions enabled."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    # the build tools are in the test environment, and an isolated build would fetch them again
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", folder, ROOT],
        check=True,
        capture_output=True,
        text=True,
    )
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_it_holds_the_module_the_extension_and_their_configuration(wheel):
    names = wheel.namelist()
    assert "medfusion.py" in names
    assert "medfusion_jupyter/store/migrations/env.py" in names
    data = {name.split(".data/data/")[1] for name in names if ".data/data/" in name}
    lab = "share/jupyter/labextensions/medfusion-jupyter"
    assert f"{lab}/install.json" in data
    assert f"{lab}/package.json" in data
    assert any(name.startswith(f"{lab}/static/remoteEntry") for name in data)
    for name in ("workflow.js", "workflow.css"):
        assert f"medfusion_jupyter/widgets/static/{name}" in names
    assert "etc/jupyter/jupyter_server_config.d/medfusion_jupyter.json" in data


def test_it_holds_no_tests_and_no_notebooks(wheel):
    assert [name for name in wheel.namelist() if name.startswith(("tests/", "notebooks/", "benchmarks/"))] == []


def test_the_version_is_that_of_the_lab_extension(wheel):
    version = json.loads((ROOT / "labextension" / "package.json").read_text(encoding="utf-8"))["version"]
    assert any(name.startswith(f"medfusion_jupyter-{version}.dist-info") for name in wheel.namelist())


def listed(*command):
    out = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=True)
    return out.stdout + out.stderr


def test_jupyter_lists_both_extensions_as_enabled():
    lab = listed("jupyter", "labextension", "list")
    line = next(line for line in lab.splitlines() if "medfusion-jupyter" in line)
    assert "enabled" in line
    assert "OK" in line
    server = listed("jupyter", "server", "extension", "list")
    assert any("medfusion_jupyter" in line and "enabled" in line for line in server.splitlines())
