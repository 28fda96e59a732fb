"""The view of an ablation follows its variants until each has a result."""

from IPython.core.interactiveshell import InteractiveShell
from patience import wait_for

import medfusion as mf
from medfusion_jupyter.widgets.ablation_monitor import AblationMonitor
from medfusion_jupyter.widgets.display import register


def test_it_follows_the_variants_until_each_has_its_result(medfusion_home):
    cohort = mf.synthetic_cohort(n=80, seed=0, image_size=16)
    small = {"image_encoder": "light_cnn", "image_size": 16, "epochs": 1, "device": "cpu"}
    ablation = mf.ablation(cohort, {"concat": {"fusion": "concat"}, "gated": {}}, folds=2, **small)
    view = AblationMonitor(ablation)
    assert "pending" in view.value
    ablation.wait()
    wait_for(lambda: view.value.count("<svg") == 2, lambda: view.value)
    assert not any(word in view.value for word in ("pending", "running"))
    # it goes on where it can be seen alone
    view.close()
    assert not view.refresh()

    shell = InteractiveShell.instance()
    register(shell)
    shown, _ = shell.display_formatter.format(ablation)
    assert shown["text/plain"].startswith("<Ablation of 2 variants")
    assert "application/vnd.jupyter.widget-view+json" in shown
