"""Images of every kind are decoded once, and what cannot be decoded is absent and counted."""

import numpy as np
import pytest
from PIL import Image

from medfusion_jupyter.data import CohortError, PixelCache
from medfusion_jupyter.data import pixel_cache as module


@pytest.fixture
def opened(tmp_path):
    def open_cache(paths, size=8, **settings):
        return PixelCache.open(paths, size=size, cache_dir=tmp_path / "cache", **settings)

    return open_cache


def _image(array, path, **how):
    Image.fromarray(array).save(path, **how)
    return path


@pytest.mark.parametrize(
    ("array", "name", "channels", "dtype"),
    [
        (np.full((9, 7), 100, np.uint8), "a.png", 1, np.uint8),
        (np.full((9, 7), 25700, np.uint16), "a.png", 1, np.uint16),
        (np.full((9, 7, 3), 100, np.uint8), "a.png", 3, np.uint8),
        (np.full((9, 7, 4), 100, np.uint8), "a.png", 3, np.uint8),
        (np.full((64, 64), 100, np.uint8), "a.jpg", 1, np.uint8),
        (np.full((64, 64, 3), 100, np.uint8), "a.jpeg", 3, np.uint8),
    ],
)
def test_grey_and_colour_of_8_and_16_bits(opened, tmp_path, array, name, channels, dtype):
    cache = opened([_image(array, tmp_path / name)])
    assert cache.pixels.shape == (1, channels, 8, 8)
    assert cache.pixels.dtype == dtype
    assert np.allclose(cache.pixels / cache.max_value, 100 / 255, atol=0.01)


def test_a_palette_and_a_bitmap_are_read_as_what_they_show(opened, tmp_path):
    Image.fromarray(np.full((9, 9, 3), (200, 10, 10), np.uint8)).convert("P").save(tmp_path / "p.png")
    assert opened([tmp_path / "p.png"]).channels == 3
    Image.fromarray(np.full((9, 9), True)).save(tmp_path / "b.png")
    assert (opened([tmp_path / "b.png"]).pixels == 255).all()


def test_deep_and_shallow_images_share_one_scale(opened, tmp_path):
    cache = opened(
        [
            _image(np.full((8, 8), 255, np.uint8), tmp_path / "a.png"),
            _image(np.full((8, 8), 65535, np.uint16), tmp_path / "b.png"),
        ]
    )
    assert cache.pixels.dtype == np.uint16
    assert (cache.pixels == 65535).all()


def test_a_phone_s_rotation_is_undone(opened, tmp_path):
    array = np.zeros((16, 16), np.uint8)
    array[:8] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # turned by half a circle
    cache = opened([_image(array, tmp_path / "a.jpg", exif=exif, quality=95)])
    assert cache.pixels[0, 0, 0].mean() < 10
    assert cache.pixels[0, 0, -1].mean() > 245


def test_slots_follow_the_rows_and_shared_files_are_kept_once(opened, images):
    paths = [images / "i3.png", None, images / "i1.png", images / "i3.png"]
    cache = opened(paths)
    assert list(cache.slots) == [0, -1, 1, 0]
    assert len(cache.pixels) == 2
    assert cache.pixels[cache.slots[2]].max() == 10


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "gone"])
def test_what_cannot_be_decoded_is_absent_and_counted(opened, images, damage):
    victim = images / "i2.png"
    if damage == "cut":
        victim.write_bytes(victim.read_bytes()[:40])
    elif damage == "text":
        victim.write_text("no image")
    elif damage == "empty":
        victim.write_bytes(b"")
    else:
        victim.unlink()
    with pytest.warns(UserWarning, match="1 of 8 image files cannot be decoded"):
        cache = opened(sorted({*images.iterdir(), victim}))
    assert list(cache.slots) == [0, 1, -1, 3, 4, 5, 6, 7]


def test_decoded_once_and_again_when_a_file_or_setting_changes(opened, images, monkeypatch):
    paths = sorted(images.iterdir())
    decoded = []
    decode = module.decode
    monkeypatch.setattr(module, "decode", lambda path, **how: decoded.append(path) or decode(path, **how))
    first = opened(paths)
    assert len(decoded) == 8
    assert np.array_equal(opened(paths).pixels, first.pixels)
    assert len(decoded) == 8
    opened(paths, size=16)
    assert len(decoded) == 16
    Image.fromarray(np.full((5, 5), 99, np.uint8)).save(paths[0])
    assert opened(paths).pixels[0].max() == 99


def test_a_large_cache_is_read_from_the_disk_as_it_is_needed(opened, images, monkeypatch):
    memory = type("Memory", (), {"available": 0})
    monkeypatch.setattr(module.psutil, "virtual_memory", memory)
    cache = opened(sorted(images.iterdir()))
    assert isinstance(cache.pixels, np.memmap)
    assert cache.pixels[3].max() == 30


def test_a_full_disk_is_a_clear_error_and_leaves_nothing_half(opened, images, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(CohortError, match=r"No space left on device.*Free some space"):
        opened(sorted(images.iterdir()))
    assert list((tmp_path / "cache").iterdir()) == []


def test_statistics_are_those_of_the_images_asked_for(opened, images):
    cache = opened(sorted(images.iterdir()))
    mean, std = cache.statistics(np.array([0, 2, -1]))
    assert mean == pytest.approx([10 / 255])
    assert std == pytest.approx([10 / 255])
