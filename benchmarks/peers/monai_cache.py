"""Batches by MONAI's CacheDataset. Arguments: folder of the images, side of the batches, batch size, augmentation as JSON."""

import functools
import json
import logging
import math
import sys
import time
import warnings
from pathlib import Path

import torch
from answering import answer_all
from monai import transforms as M
from monai.data import CacheDataset, DataLoader

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)
torch.set_num_threads(1)
FOLDER, SIZE, BATCH = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
AUGMENTATION = json.loads(sys.argv[4])
CHANGE = M.Compose(
    [
        M.LoadImaged("image", image_only=True),
        M.EnsureChannelFirstd("image"),
        M.Resized("image", (SIZE, SIZE)),
        M.ScaleIntensityRanged("image", 0, 255, -2, 2),
        M.RandFlipd("image", prob=AUGMENTATION["flip"], spatial_axis=1),
        M.RandAffined(
            "image",
            prob=1.0,
            rotate_range=math.radians(AUGMENTATION["rotate"]),
            translate_range=SIZE * AUGMENTATION["translate"],
            scale_range=AUGMENTATION["scale"],
            padding_mode="border",
        ),
        M.RandShiftIntensityd("image", AUGMENTATION["brightness"], prob=1.0),
        M.RandScaleIntensityd("image", AUGMENTATION["contrast"], prob=1.0),
    ]
)


def cached():
    items = [{"image": str(path)} for path in sorted(FOLDER.iterdir())]
    return DataLoader(CacheDataset(items, CHANGE, progress=False, num_workers=2), batch_size=BATCH, shuffle=True)


kept = functools.cache(cached)


def answer(epoch):
    """Seconds of an epoch: the first with decoding and filling the cache, or a later one."""
    loader = kept() if epoch == "later" else None
    began = time.perf_counter()
    for _ in loader or cached():
        pass
    return {"seconds": time.perf_counter() - began}


answer_all(answer)
