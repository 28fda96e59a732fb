import numpy as np
import pandas as pd
import pytest
from PIL import Image


@pytest.fixture
def images(tmp_path):
    """A folder of eight 8-bit grey PNG files, i0.png to i7.png, each of one grey value: 10 times its number."""
    folder = tmp_path / "images"
    folder.mkdir()
    for k in range(8):
        Image.fromarray(np.full((20, 30), 10 * k, np.uint8)).save(folder / f"i{k}.png")
    return folder


@pytest.fixture
def frame():
    """Eight rows of eight patients."""
    return pd.DataFrame(
        {
            "who": [f"secret-{k}" for k in range(8)],
            "film": [f"i{k}" for k in range(8)],
            "crp": [1.0, 2.0, np.nan, 4.0, -np.inf, np.inf, 7.0, 8.0],
            "sex": ["m", "f", None, "m", "f", "m", "f", "m"],
            "icu": [0, 1, 0, 1, 0, 1, 0, 1],
        }
    )
