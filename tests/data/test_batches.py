"""Batches hold every row once, normalised, and augmentation changes each image by parameters of its own."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medfusion_jupyter.data import PixelCache, TableArrays, batch_rows
from medfusion_jupyter.data.augment import _affine_grid, augment
from medfusion_jupyter.data.batches import BatchSource
from medfusion_jupyter.settings.augmentation import Augmentation

NOTHING = {"flip": 0, "rotate": 0, "translate": 0, "scale": 0, "brightness": 0, "contrast": 0}


def _source(n, batch_size, absent=(), dtype=np.uint8, device="cpu"):
    slots = np.where(np.isin(np.arange(n), absent), -1, np.arange(n))
    full = np.iinfo(dtype).max
    pixels = np.broadcast_to((np.arange(n) % 5 * full // 4).astype(dtype)[:, None, None, None], (n, 1, 4, 4)).copy()
    table = TableArrays(np.arange(n, dtype=np.float32)[:, None], np.zeros((n, 0), np.int64), np.ones(n, bool))
    return BatchSource(
        PixelCache(pixels, slots, "key"),
        table,
        np.arange(n) % 2,
        rows=np.arange(n),
        batch_size=batch_size,
        device=device,
        mean=(0.5,),
        std=(0.25,),
        modalities=("image", "table"),
    )


@given(st.integers(2, 70), st.integers(2, 20), st.booleans())
def test_every_row_once_and_never_a_last_batch_of_one(n, batch_size, shuffled):
    source = _source(n, batch_size)
    batches = list(source.epoch((0, 1) if shuffled else None, None, None))
    assert len(batches) == len(source)
    rows = np.concatenate([batch.rows for batch in batches])
    assert sorted(rows) == list(range(n))
    assert (list(rows) == list(range(n))) or shuffled
    assert all(1 < len(batch) <= batch_size + 1 for batch in batches)
    for batch in batches:
        assert batch.numeric[:, 0].tolist() == list(batch.rows)
        assert batch.target.tolist() == [row % 2 for row in batch.rows]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pixels_are_normalised(dtype):
    batch = next(iter(_source(5, 5, dtype=dtype).epoch(None, None, None)))
    assert batch.images[0][:, 0, 0, 0].tolist() == pytest.approx([-2, -1, 0, 1, 2], abs=0.02)
    assert batch.images[0].dtype == torch.float32


def test_an_absent_image_is_marked_and_never_silently_a_zero_image():
    batch = next(iter(_source(5, 5, absent=[1]).epoch(None, None, None)))
    assert batch.present[:, 0].tolist() == [True, False, True, True, True]
    assert not batch.all_present
    assert next(iter(_source(5, 5).epoch(None, None, None))).all_present


@pytest.mark.parametrize("augmentation", [None, Augmentation()])
def test_an_absent_image_is_zero_also_when_images_are_changed(augmentation):
    batch = next(iter(_source(5, 5, absent=[1]).epoch(None, augmentation, torch.Generator())))
    assert (batch.images[0].abs().amax(dim=(1, 2, 3)) == 0).tolist() == [False, True, False, False, False]


@given(st.integers(2, 70), st.integers(2, 20), st.data())
def test_an_epoch_begun_in_its_middle_gives_the_same_batches_as_one_that_was_not_interrupted(n, batch_size, data):
    source = _source(n, batch_size, absent=[0])
    start = data.draw(st.integers(0, len(source)))
    generator = torch.Generator().manual_seed(3)
    whole = source.epoch((0, 1), Augmentation(), generator)
    for _ in range(start):
        next(whole)
    # asked for anew by a source of another process, with nothing but the generator's state
    later = torch.Generator()
    later.set_state(generator.get_state())
    rest = list(_source(n, batch_size, absent=[0]).epoch((0, 1), Augmentation(), later, start=start))
    expected = list(whole)
    assert len(rest) == len(expected) == len(source) - start
    for one, two in zip(rest, expected, strict=True):
        assert one.rows.tolist() == two.rows.tolist()
        assert torch.equal(one.images[0], two.images[0])
        assert torch.equal(one.numeric, two.numeric)
        assert torch.equal(one.target, two.target)


def test_batches_that_are_left_out_are_not_made():
    source = _source(40, 4)
    generator = torch.Generator().manual_seed(3)
    before = generator.get_state()
    rest = source.epoch((0, 1), Augmentation(), generator, start=9)
    next(rest)
    once = torch.Generator()
    once.set_state(before)
    augment(torch.zeros(4, 1, 4, 4), Augmentation(), once)
    assert torch.equal(generator.get_state(), once.get_state())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("share", [0.25, 0.0])  # pixels kept on the GPU, and read from the host
def test_a_gpu_gets_the_batches_that_the_processor_gets(dtype, share, monkeypatch):
    monkeypatch.setattr(batch_rows, "DEVICE_SHARE", share)
    on_gpu = _source(11, 4, absent=[3], dtype=dtype, device="cuda").epoch((0, 1), None, None)
    on_cpu = _source(11, 4, absent=[3], dtype=dtype).epoch((0, 1), None, None)
    for one, two in zip(on_gpu, on_cpu, strict=True):
        assert torch.allclose(one.images[0].cpu(), two.images[0], atol=1e-6)
        assert torch.equal(one.present.cpu(), two.present)
        assert torch.equal(one.target.cpu(), two.target)


def test_an_epoch_has_its_own_order_and_the_same_each_time():
    source = _source(50, 50)
    orders = [next(iter(source.epoch(order, None, None))).rows.tolist() for order in ((0, 1), (0, 1), (0, 2), (1, 1))]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2] != orders[3]


def test_the_grid_is_the_one_of_torch():
    matrix = torch.randn(6, 2, 3, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.affine_grid(matrix, [6, 1, 9, 14], align_corners=False)
    assert torch.allclose(_affine_grid(matrix, 9, 14), expected, atol=1e-6)


@pytest.fixture
def pictures():
    return torch.randn(64, 1, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 4, 8, 8)])
def test_an_image_is_changed_alike_however_its_batch_is_shared(shape):
    pictures = torch.rand(7, *shape)
    generator = torch.Generator().manual_seed(3)
    whole = augment(pictures, Augmentation(), generator)
    # bags: a part may have no image at all
    for own in (slice(0, 0), slice(0, 3), slice(3, 7)):
        again = torch.Generator().manual_seed(3)
        torch.testing.assert_close(augment(pictures[own], Augmentation(), again, (own, 7)), whole[own])
        assert torch.equal(again.get_state(), generator.get_state())


def test_nothing_asked_nothing_changed(pictures):
    same = augment(pictures, Augmentation(**NOTHING), torch.Generator())
    assert torch.equal(same, pictures)


def test_a_certain_flip_is_a_mirror_image(pictures):
    flipped = augment(pictures, Augmentation(**{**NOTHING, "flip": 1}), torch.Generator())
    assert torch.allclose(flipped, pictures.flip(3), atol=1e-5)


def test_half_of_them_are_flipped_each_on_its_own(pictures):
    flipped = augment(pictures, Augmentation(**{**NOTHING, "flip": 0.5}), torch.Generator().manual_seed(1))
    turned = [torch.allclose(a, b.flip(2), atol=1e-5) for a, b in zip(flipped, pictures, strict=True)]
    kept = [torch.allclose(a, b, atol=1e-5) for a, b in zip(flipped, pictures, strict=True)]
    assert 20 < sum(turned) < 44
    assert sum(turned) + sum(kept) == 64


def test_a_shift_moves_by_no_more_than_was_allowed():
    pictures = torch.zeros(200, 1, 32, 32)
    pictures[:, :, 16, 16] = 1
    moved = augment(pictures, Augmentation(**{**NOTHING, "translate": 0.25}), torch.Generator().manual_seed(0))
    grid = torch.arange(32.0)
    mass = moved.sum(dim=(1, 2, 3))
    across = (moved.sum(dim=(1, 2)) * grid).sum(1) / mass - 16
    assert across.abs().max() <= 8.01
    assert across.abs().max() > 6
    assert across.std() > 2


def test_brightness_and_contrast_are_drawn_for_each(pictures):
    changed = augment(
        pictures, Augmentation(**{**NOTHING, "brightness": 0.5, "contrast": 0.5}), torch.Generator().manual_seed(0)
    )
    shift = changed.mean(dim=(1, 2, 3)) - pictures.mean(dim=(1, 2, 3))
    factor = changed.std(dim=(1, 2, 3)) / pictures.std(dim=(1, 2, 3))
    assert shift.abs().max() <= 0.5
    assert shift.std() > 0.1
    assert (factor - 1).abs().max() <= 0.5 + 1e-5
    assert factor.std() > 0.1


def test_the_same_generator_state_gives_the_same_images(pictures):
    one, two = (augment(pictures, Augmentation(), torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(one, two)


def _several(kind, n=24, share=None, **more):
    """Rows with two views, or with bags of up to four images, some absent; a pixel tells which image it is."""
    rng = np.random.default_rng(0)
    slots = np.arange(2 * n).reshape(2, n) if kind == "views" else np.arange(4 * n).reshape(1, n, 4)
    slots = np.where(rng.random(slots.shape) < 0.3, -1, slots)
    slots[:, 5] = -1
    pixels = np.arange(4 * n, dtype=np.uint16)[:, None, None, None] * np.ones((1, 1, 6, 6), np.uint16)
    table = TableArrays(np.arange(n, dtype=np.float32)[:, None], np.zeros((n, 0), np.int64), np.ones(n, bool))
    source = BatchSource(
        PixelCache(pixels, slots, "key"),
        table,
        np.arange(n) % 2,
        rows=np.arange(n),
        batch_size=8,
        device="cpu",
        mean=(0.0,),
        std=(1 / 65535,),
        modalities=("a", "b", "table") if kind == "views" else ("image", "table"),
        **more,
    )
    source.share = share
    return source, slots


def test_each_view_has_its_images_and_its_column_of_the_mask():
    source, slots = _several("views")
    for batch in source.epoch((0, 1), None, None):
        assert batch.instances == ()
        for view, image in enumerate(batch.images):
            there = slots[view, batch.rows] >= 0
            assert batch.present[:, view].tolist() == there.tolist()
            assert (image[:, 0, 0, 0].round().numpy() == np.where(there, slots[view, batch.rows], 0)).all()


@pytest.mark.parametrize("most", [None, 2])
def test_a_batch_of_bags_has_the_images_that_are_there_and_their_places(most):
    source, slots = _several("bags", max_images=most)
    seen, drawn = [], []
    for epoch in range(3):
        for batch in source.epoch((0, epoch), None, None):
            (images,) = batch.images
            assert len(images) == int(batch.instances[0].sum())
            rows = np.repeat(batch.rows, batch.instances[0].sum(dim=1).numpy())
            shown = images[:, 0, 0, 0].round().numpy().astype(int)
            assert (shown // 4 == rows).all()  # each image is of its row
            drawn += [(epoch, image) for image in shown.tolist()]
            counts = (slots[0, batch.rows] >= 0).sum(axis=1)
            assert batch.instances[0].sum(dim=1).tolist() == counts.clip(0, most or 4).tolist()
            assert batch.present[:, 0].tolist() == (counts > 0).tolist()
        seen.append([batch.images[0][:, 0, 0, 0].tolist() for batch in source.epoch((0, epoch), None, None)])
    of_epochs = [{image for one, image in drawn if one == epoch} for epoch in range(3)]
    assert (of_epochs[0] != of_epochs[1] != of_epochs[2]) == (most is not None)  # drawn anew
    again = [batch.images[0][:, 0, 0, 0].tolist() for batch in source.epoch((0, 0), None, None, start=1)]
    assert again == seen[0][1:]  # an epoch that is begun in its middle draws what it would have drawn
    whole = list(source.epoch(None, None, None))
    assert sum(len(batch.images[0]) for batch in whole) == (slots >= 0).sum()  # without an order nothing is drawn


def test_bags_are_predicted_for_in_batches_of_not_too_many_images(monkeypatch):
    monkeypatch.setattr(batch_rows, "IMAGES_AT_ONCE", 7)
    source, _ = _several("bags")
    batches = list(source.epoch(None, None, None))
    assert np.concatenate([batch.rows for batch in batches]).tolist() == list(range(24))
    assert all(len(batch.images[0]) <= 7 for batch in batches)
    assert len(batches) < 24


@pytest.mark.parametrize("kind", ["views", "bags"])
def test_processes_that_share_a_batch_have_all_its_images_changed_alike(kind):
    more = {"max_images": 2} if kind == "bags" else {}
    whole = _several(kind, **more)[0].epoch((0, 1), Augmentation(), torch.Generator().manual_seed(4))
    parts = [
        _several(kind, share=(k, 3), **more)[0].epoch((0, 1), Augmentation(), torch.Generator().manual_seed(4))
        for k in range(3)
    ]
    for batch, *own in zip(whole, *parts, strict=True):
        for view, images in enumerate(batch.images):
            assert torch.allclose(torch.cat([one.images[view] for one in own]), images, atol=1e-3)
        assert torch.equal(torch.cat([one.present for one in own]), batch.present)
        assert all(torch.equal(one.target, batch.target) for one in own)
        if kind == "bags":
            counts = torch.cat([one.instances[0].sum(dim=1) for one in own])
            assert torch.equal(counts, batch.instances[0].sum(dim=1))
