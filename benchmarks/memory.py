"""Peak memory of training ResNet-18 at 64² with store and recorder on, against a plain loop over a DataLoader.

Each trains in a process of its own; its peak is that of the memory of it and its workers (PSS, looked at every 20 ms). Both write
a checkpoint with the optimiser's state at the end. MedFusion runs with its decoded images in memory, and mapped from the disk.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from rounds import environment

IMAGES, SIDE, SIZE, BATCH, ROUNDS = 1200, 128, 64, 32, 3
CACHE_MB = IMAGES * SIZE * SIZE * 2 / 1e6  # 16 bits a pixel

COHORT = f"import medfusion as mf\ncohort = mf.synthetic_cohort({IMAGES}, image_size={SIDE})\n"
MEDFUSION = f"""
mf.train(
    cohort, image_encoder="resnet18", image_size={SIZE}, batch_size={BATCH}, epochs=1, device="cpu", val=0.1, test=0.1
).wait()
"""
PLAIN = f"""
import json, sys
import torch, torchvision
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

workers, folder = int(sys.argv[1]), sys.argv[2]
paths = json.load(open(folder + "/paths.json"))

class Images(Dataset):
    change = v2.Compose([v2.ToImage(), v2.Resize(({SIZE}, {SIZE}), antialias=True), v2.RandomHorizontalFlip(),
        v2.RandomAffine(10, (0.05, 0.05), (0.95, 1.05)), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5], [0.25])])

    def __len__(self):
        return len(paths)

    def __getitem__(self, k):
        with Image.open(paths[k]) as image:
            return self.change(image.point(lambda value: value / 257).convert("L")), torch.zeros(4), k % 2

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.image = torchvision.models.resnet18(weights=None)
        self.image.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
        self.image.fc = nn.Identity()
        self.table = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 32))
        self.head = nn.Linear(512 + 32, 2)

    def forward(self, image, table):
        return self.head(torch.cat([self.image(image), self.table(table)], 1))

net = Net()
optimizer = torch.optim.AdamW(net.parameters(), lr=3e-4)
for image, table, target in DataLoader(Images(), {BATCH}, shuffle=True, num_workers=workers, drop_last=True):
    optimizer.zero_grad(set_to_none=True)
    F.cross_entropy(net(image, table), target).backward()
    optimizer.step()
torch.save({{"model": net.state_dict(), "optimizer": optimizer.state_dict()}}, folder + "/plain.pt")
"""


def peak_mb(code: str, *arguments: str, **environment_of_it: str) -> float:
    """The most that the process and its children held at once. Raises CalledProcessError where it fails."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment_of_it},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    root, peak = psutil.Process(process.pid), 0
    while process.poll() is None:
        peak = max(peak, _held(root))
        time.sleep(0.02)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, code)
    return peak / 1e6


def _held(root: psutil.Process) -> int:
    held = 0
    try:
        for process in [root, *root.children(recursive=True)]:
            held += process.memory_full_info().pss
    except psutil.Error:  # it has just ended
        pass
    return held


if __name__ == "__main__":
    print(environment("torch"))
    with tempfile.TemporaryDirectory() as scratch:
        home = str(Path(scratch) / "home")
        listed = f"import json; json.dump([str(p) for p in cohort.image_paths], open({scratch + '/paths.json'!r}, 'w'))"
        peak_mb(COHORT + listed, MEDFUSION_HOME=home)
        contenders = {
            "plain loop, no workers": lambda: peak_mb(PLAIN, "0", scratch),
            "plain loop, 2 workers": lambda: peak_mb(PLAIN, "2", scratch),
            "MedFusion, pixels in memory": lambda: peak_mb(COHORT + MEDFUSION, MEDFUSION_HOME=home),
            "MedFusion, pixels mapped": lambda: peak_mb(
                COHORT + MEDFUSION, MEDFUSION_HOME=home, MEDFUSION_CACHE_MEMORY="0"
            ),
        }
        figures: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(ROUNDS):
            for name, measure in contenders.items():
                figures[name].append(measure())
    plain = figures["plain loop, no workers"]
    print(f"\n### Peak memory, {IMAGES} images ({CACHE_MB:.0f} MB of pixels)\n")
    print("| | peak (MB): lowest to highest | more than the plain loop without workers (MB) |\n|---|---|---|")
    for name, values in figures.items():
        more = sorted(a - b for a, b in zip(values, plain, strict=True))
        print(f"| {name} | {min(values):.0f} to {max(values):.0f} | {more[0]:+.0f} to {more[-1]:+.0f} |")
