"""Importing costs next to nothing: heavy packages are loaded when they are needed, and the server never loads torch."""

import os
import subprocess
import sys

import pytest

HEAVY = (
    "torch",
    "torchvision",
    "pandas",
    "sqlalchemy",
    "numpy",
    "PIL",
    "pydantic",
    "ipywidgets",
    "bqplot",
    "pydicom",
    "nibabel",
    "pooch",
    "requests",
)


def loaded_by(code):
    probe = f"{code}\nimport sys\nprint(*[m for m in {HEAVY} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return set(out.stdout.split("\n")[-2].split())


@pytest.mark.parametrize(
    "code",
    [
        "import medfusion",
        "import medfusion; dir(medfusion)",
        "import medfusion_jupyter; medfusion_jupyter._jupyter_labextension_paths()",
        "import medfusion_jupyter.store",
        "import medfusion_jupyter.cli",
    ],
)
def test_nothing_heavy_is_loaded_by(code):
    assert loaded_by(code) == set()


def test_threads_that_wait_leave_their_core_to_others_unless_the_user_says_how_they_wait():
    def said(**environment):
        code = "import medfusion_jupyter, os; print(os.environ.get('GOMP_SPINCOUNT'))"
        clean = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
        return subprocess.check_output([sys.executable, "-c", code], text=True, env={**clean, **environment}).strip()

    assert said() == "1000"
    assert said(GOMP_SPINCOUNT="7") == "7"
    assert said(OMP_WAIT_POLICY="active") == "None"


def test_the_server_extension_loads_no_torch_and_no_database_until_asked():
    assert not loaded_by("import medfusion_jupyter as m; m._jupyter_server_extension_points()") & {
        "torch",
        "pandas",
        "sqlalchemy",
        "numpy",
    }


def test_the_catalogue_the_graph_and_its_validation_load_no_torch():
    code = (
        "from medfusion_jupyter.workflows.catalogue import catalogue\n"
        "from medfusion_jupyter.workflows.validation import validate\n"
        "assert len(catalogue().to_json()) >= 5 and validate({}, catalogue())"
    )
    assert not loaded_by(code) & {"torch", "pandas", "sqlalchemy", "numpy", "ipywidgets"}


def test_loading_the_extension_in_ipython_loads_no_torch():
    code = (
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "ip = InteractiveShell.instance()\n"
        "ip.run_line_magic('load_ext', 'medfusion')\n"
        "assert 'medfusion' in ip.magics_manager.magics['line']\n"
    )
    assert not loaded_by(code) & {"torch", "pandas", "sqlalchemy", "ipywidgets", "bqplot"}


def test_every_public_name_is_there():
    import medfusion as mf

    for name in mf.__all__:
        assert getattr(mf, name) is not None
    assert set(mf.__all__) <= set(dir(mf))
    assert mf.__version__


def test_a_name_that_is_not_there_offers_the_closest():
    import medfusion as mf

    with pytest.raises(AttributeError, match=r"no name 'Chort'. Did you mean mf.Cohort\?"):
        _ = mf.Chort
