import pytest

from medfusion_jupyter.workflows.catalogue import catalogue


@pytest.fixture
def builtin():
    """The catalogue of this process."""
    return catalogue()
