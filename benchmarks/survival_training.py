"""How near a survival study comes to the best possible C index when it is trained by `mf.train` with its defaults.

The log hazard is carried half by the image and half by a column, beside columns of nothing; the best C index is known. The head
is Cox's; learning rate, batches, fusion and epochs are the defaults. Judged on rows of their own, many enough that chance counts
little: the test part of a study of this size would be off by 2 %. A few minutes of one core.
"""

import contextlib
import io
import os
import tempfile
import warnings

os.environ.setdefault("OMP_NUM_THREADS", "1")
from rounds import environment

import medfusion as mf

ROWS, TEST, SIDE = 2000, 4000, 32
ARMS = {
    "image + table": {},
    "image + table, light encoder": {"image_encoder": "light_cnn"},
    "image alone, light encoder": {"image_encoder": "light_cnn", "tabular_encoder": None},
}


def trained(settings, seed):
    """The C index on new rows and its share of the best."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study = mf.synthetic_survival(n=ROWS, seed=seed, image_size=SIDE)
        held_out = mf.synthetic_survival(n=TEST, seed=1000 + seed, image_size=SIDE)
        model = mf.train(study, image_size=SIDE, seed=seed, device="cpu", **settings).wait().model
        found = mf.evaluate(model, held_out).c_index.value
    return found, found / study.best_c_index["image" if "tabular_encoder" in settings else "both"]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        os.environ["MEDFUSION_HOME"] = home
        print(environment("torch"))
        print(f"\n{ROWS} rows of {SIDE}² pixels, 60 % of them to learn from, {TEST} new ones to judge by.\n")
        print("### A survival study\n\n| | C index | share of the best |\n|---|---|---|")
        for name, settings in ARMS.items():
            found, share = trained(settings, seed=0)
            print(f"| {name} | {found:.4f} | {share:.3f} |", flush=True)
