"""Images of every kind are decoded once, and what cannot be decoded is absent and counted."""

import os
import resource
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

from medfusion_jupyter.data import CohortError, PixelCache, image_files
from medfusion_jupyter.data import cache_memory as cache_memory_module
from medfusion_jupyter.data import pixel_cache as module
from medfusion_jupyter.store import durable_files


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


@pytest.mark.parametrize("waiting", [150, 700, 10**6])
def test_images_that_are_decoded_together_keep_their_places(opened, tmp_path, monkeypatch, waiting):
    """waiting: so many decoded images at most."""
    monkeypatch.setattr(module, "DECODED_BYTES", waiting * 8 * 8)
    paths = [_image(np.full((2, 2), k % 251, np.uint8), tmp_path / f"{k}.bmp") for k in range(400)]
    paths[123].write_bytes(b"no image")
    with pytest.warns(UserWarning, match="1 of 400"):
        cache = opened(paths)
    there = cache.slots >= 0
    assert np.flatnonzero(~there).tolist() == [123]
    assert (cache.pixels[cache.slots[there], 0, 0, 0] == (np.arange(400) % 251)[there]).all()


def test_a_file_is_read_alike_at_once_and_in_pieces(tmp_path, monkeypatch):
    picture = _image(np.arange(81, dtype=np.uint8).reshape(9, 9), tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"this is no image at all")
    found = []
    for limit in (image_files.READ_WHOLE, 10):
        monkeypatch.setattr(image_files, "READ_WHOLE", limit)
        found.append(image_files.decode(picture, size=4, channels=1, deep=False))
        with pytest.raises(UnidentifiedImageError) as refused:
            image_files.decode(tmp_path / "b.png", size=4, channels=1, deep=False)
        assert str(refused.value) == f"cannot identify image file {str(tmp_path / 'b.png')!r}"
    assert (found[0] == found[1]).all()


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


def test_a_change_that_keeps_size_and_time_of_a_file_is_noticed(opened, images):
    path = images / "i3.png"
    there = path.stat()
    opened([path])
    Image.fromarray(np.full((20, 30), 31, np.uint8)).save(path)
    assert path.stat().st_size == there.st_size
    os.utime(path, ns=(there.st_atime_ns, there.st_mtime_ns))
    assert opened([path]).pixels.max() == 31


@pytest.mark.parametrize("limit", ["0", "511", "0.1KB"])
def test_a_cache_above_the_set_size_is_read_from_the_disk_as_it_is_needed(opened, images, monkeypatch, limit):
    monkeypatch.setenv("MEDFUSION_CACHE_MEMORY", limit)
    cache = opened(sorted(images.iterdir()))  # eight times 8 x 8 pixels
    assert isinstance(cache.pixels, np.memmap)
    assert cache.pixels[3].max() == 30


@pytest.mark.parametrize("limit", ["5000", "5kb", "1 MB", "2.5GB", "1TB", ""])
def test_a_cache_below_the_set_size_is_held_in_memory(opened, images, monkeypatch, limit):
    monkeypatch.setenv("MEDFUSION_CACHE_MEMORY", limit)
    assert not isinstance(opened(sorted(images.iterdir())).pixels, np.memmap)


@pytest.mark.parametrize("limit", ["a lot", "-1", "8 apples", "nan"])
def test_a_size_that_is_none_is_refused(opened, images, monkeypatch, limit):
    monkeypatch.setenv("MEDFUSION_CACHE_MEMORY", limit)
    with pytest.raises(CohortError, match=f"MEDFUSION_CACHE_MEMORY is '{limit}'.*such as 8GB"):
        opened(sorted(images.iterdir()))


def test_the_limit_of_a_container_counts_as_the_memory_there_is(tmp_path, monkeypatch):
    monkeypatch.delenv("MEDFUSION_CACHE_MEMORY", raising=False)
    monkeypatch.setattr(cache_memory_module, "CGROUP", tmp_path)
    of_the_machine = cache_memory_module.cache_memory()
    (tmp_path / "memory.current").write_text("600\n")
    (tmp_path / "memory.max").write_text("1000\n")
    assert cache_memory_module.cache_memory() == 100
    (tmp_path / "memory.max").write_text("max\n")
    assert cache_memory_module.cache_memory() == pytest.approx(of_the_machine, rel=0.5)


@pytest.mark.parametrize("damage", ["array cut", "array changed", "array gone", "card cut", "card of another"])
def test_a_damaged_cache_is_made_anew(opened, images, tmp_path, damage):
    paths = sorted(images.iterdir())
    expected = opened(paths).pixels.copy()
    array, card = (next((tmp_path / "cache").glob(pattern)) for pattern in ("*.npy", "*.json"))
    if damage == "array cut":
        array.write_bytes(array.read_bytes()[:-1])
    elif damage == "array changed":
        content = bytearray(array.read_bytes())
        content[-1] ^= 1
        array.write_bytes(content)
    elif damage == "array gone":
        array.unlink()
    elif damage == "card cut":
        card.write_text(card.read_text()[:-1])
    else:
        card.write_text("[]")
    assert np.array_equal(opened(paths).pixels, expected)
    assert np.array_equal(np.load(array), expected)


OPENS = """
import sys, time
from pathlib import Path
from medfusion_jupyter.data import PixelCache, pixel_cache

folder, name = Path(sys.argv[1]), sys.argv[2]
decode = pixel_cache.decode

def slowly(path, **how):
    with open(folder / "decoded", "a") as log:
        log.write(name + " ")
    while not (folder / "go").exists():
        time.sleep(0.01)
    return decode(path, **how)

pixel_cache.decode = slowly
print("opens", flush=True)
pixels = PixelCache.open(sorted((folder / "images").iterdir()), size=8, cache_dir=folder / "cache").pixels
print(int(pixels.max()), flush=True)
"""


def test_two_processes_that_want_the_same_images_decode_them_once(images, tmp_path):
    def start(name):
        command = [sys.executable, "-c", OPENS, str(tmp_path), name]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "opens\n"
        return process

    one = start("one")
    deadline = time.monotonic() + 60
    while not (tmp_path / "decoded").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    two = start("two")
    (tmp_path / "go").touch()
    assert [process.communicate(timeout=60)[0] for process in (one, two)] == ["70\n", "70\n"]
    assert (tmp_path / "decoded").read_text().split() == ["one"] * 8


@pytest.fixture
def files_of_at_most_100_kb():
    """A disk that is full: the system refuses the write itself."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_write_that_fails_is_a_clear_error_and_leaves_nothing_half(opened, images, tmp_path, files_of_at_most_100_kb):
    with pytest.raises(CohortError, match=r"The decoded images \(1 MB\).*File too large.*Free some space"):
        opened(sorted(images.iterdir()), size=256)
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]


def test_a_full_disk_is_a_clear_error_and_leaves_nothing_half(opened, images, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable_files.os, "fsync", full)
    with pytest.raises(CohortError, match=r"No space left on device.*Free some space"):
        opened(sorted(images.iterdir()))
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]


def test_statistics_are_those_of_the_images_asked_for(opened, images):
    cache = opened(sorted(images.iterdir()))
    mean, std = cache.statistics(np.array([0, 2, -1]))
    assert mean == pytest.approx([10 / 255])
    assert std == pytest.approx([10 / 255])
