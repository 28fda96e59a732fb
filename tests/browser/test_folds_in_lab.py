"""A cross-validation in JupyterLab: one row of the panel that opens, and a view in the cell that follows it."""

import pytest

pytestmark = pytest.mark.browser

CELLS = (
    """%load_ext medfusion
import medfusion as mf
cohort = mf.synthetic_cohort(n=200, seed=0, image_size=16)""",
    """cv = mf.cross_validate(cohort, folds=3, name="small", image_encoder="light_cnn", image_size=16, batch_size=16,
                       epochs=12, patience=None, device="cpu")
cv""",
)


def test_it_is_one_row_that_opens_to_its_folds_and_a_view_that_follows_them(tab, lab):
    lab.write("folds.ipynb", *CELLS)
    tab.open("folds.ipynb")
    tab.show_panel()
    tab.run_all()
    page = tab.page
    page.wait_for_selector("#medfusion-panel li[data-status='running']")
    whole = page.locator("#medfusion-panel .jp-MedFusion-list >> nth=0 >> li >> nth=0")
    job_id = whole.get_attribute("data-job-id")
    row = tab.row(job_id)
    assert page.locator("#medfusion-panel li[data-job-id]").count() == 1
    page.wait_for_function("() => /fold [123] of 3/.test(document.querySelector('#medfusion-panel').innerText)")
    row.get_by_role("button", name="Folds of small").first.click()
    page.wait_for_function("() => document.querySelectorAll('.jp-MedFusion-folds > li').length === 3")
    names = page.locator(".jp-MedFusion-folds .jp-MedFusion-name").all_inner_texts()
    assert names == ["fold 1", "fold 2", "fold 3"]
    page.wait_for_selector(".mf-cross-validation >> text=/fold [123] of 3/")
    tab.shot("cross-validation-runs")
    tab.row(job_id, "completed").wait_for(timeout=180_000)
    page.wait_for_selector(".mf-cross-validation >> text=/test AUROC 0\\.\\d+/")
    page.wait_for_selector("#medfusion-panel >> text=/test AUROC 0\\.\\d+/")
    assert page.locator(".jp-MedFusion-folds > li[data-status='completed']").count() == 3
    tab.shot("cross-validation-done")
    row.get_by_role("button", name="Folds of small").first.click()
    page.wait_for_function("() => document.querySelectorAll('.jp-MedFusion-folds').length === 0")
    assert tab.errors == []
