"""Peak memory of training ResNet-18 at 64² with store and recorder on, against a plain loop over a DataLoader.

Each trains three epochs in a process of its own and saves model and optimiser after each: the plain loop by torch.save, MedFusion
as it always does, with its decoded images in memory, and mapped from the disk. The figure is the process's own high-water mark
(VmHWM, without the workers of the plain loop), beside it what it held before training, the libraries and the cohort, and what
training took on top of that. Both processes hold what a notebook's kernel holds anyway: ipykernel, and pandas for the table. The
home and its store are there already: to make them loads Alembic, once. Peaks move by some tens of MB between runs, as the holes
that the system's allocator leaves happen to lie.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from rounds import environment

IMAGES, SIDE, SIZE, BATCH, EPOCHS, ROUNDS = 800, 128, 64, 32, 3, 3
CACHE_MB = IMAGES * SIZE * SIZE * 2 / 1e6  # 16 bits a pixel

SAID = """
import json
import ipykernel.ipkernel, pandas

def held(what):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1e3 for line in file if line.startswith(what))
"""
COHORT = f"import medfusion as mf\ncohort = mf.synthetic_cohort({IMAGES}, image_size={SIDE})\n"
MEDFUSION = f"""
import ipywidgets, torchvision  # what training loads
import medfusion_jupyter.training
before = held("VmRSS")
mf.train(
    cohort, image_encoder="resnet18", image_size={SIZE}, batch_size={BATCH}, epochs={EPOCHS}, patience=None,
    device="cpu", val=0.1, test=0.1,
).wait()
print(json.dumps([before, held("VmHWM")]))
"""
PLAIN = f"""
import sys
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

before = held("VmRSS")
net = Net()
optimizer = torch.optim.AdamW(net.parameters(), lr=3e-4)
loader = DataLoader(Images(), {BATCH}, shuffle=True, num_workers=workers, drop_last=True)
for _ in range({EPOCHS}):
    for image, table, target in loader:
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(net(image, table), target).backward()
        optimizer.step()
    torch.save({{"model": net.state_dict(), "optimizer": optimizer.state_dict()}}, folder + "/plain.pt")
print(json.dumps([before, held("VmHWM")]))
"""


def measured(code: str, *arguments: str, **environment_of_it: str) -> tuple[float, float]:
    """MB that a process held before training and at most. Raises CalledProcessError where it fails."""
    done = subprocess.run(
        [sys.executable, "-c", SAID + code, *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment_of_it},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    before, peak = json.loads(done.stdout.splitlines()[-1])
    return before, peak


if __name__ == "__main__":
    print(environment("torch"))
    with tempfile.TemporaryDirectory() as scratch:
        home = str(Path(scratch) / "home")
        listed = (
            f"json.dump([str(p) for p in cohort.image_paths], open({scratch + '/paths.json'!r}, 'w'))\n"
            "from medfusion_jupyter.store import open_store\n"
            "open_store()\nprint('[0, 0]')"
        )
        measured(COHORT + listed, MEDFUSION_HOME=home)
        contenders = {
            "plain loop, no workers": lambda: measured(PLAIN, "0", scratch),
            "plain loop, 2 workers beside": lambda: measured(PLAIN, "2", scratch),
            "MedFusion, pixels in memory": lambda: measured(COHORT + MEDFUSION, MEDFUSION_HOME=home),
            "MedFusion, pixels mapped": lambda: measured(
                COHORT + MEDFUSION, MEDFUSION_HOME=home, MEDFUSION_CACHE_MEMORY="0"
            ),
        }
        figures: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
        for _ in range(ROUNDS):
            for name, measure in contenders.items():
                figures[name].append(measure())
    plain = [peak for _, peak in figures["plain loop, no workers"]]
    print(f"\n### Peak memory, {IMAGES} images ({CACHE_MB:.0f} MB of pixels), median of {ROUNDS} runs\n")
    print(
        "| | before training (MB) | peak (MB), lowest to highest | training took (MB) "
        "| peak above the plain loop without workers (MB) |"
    )
    print("|---|---|---|---|---|")
    for name, values in figures.items():
        before, peaks = statistics.median(value[0] for value in values), [value[1] for value in values]
        more = statistics.median(a - b for a, b in zip(peaks, plain, strict=True))
        print(
            f"| {name} | {before:.0f} | {statistics.median(peaks):.0f}, {min(peaks):.0f} to {max(peaks):.0f} "
            f"| {statistics.median(peaks) - before:.0f} | {more:+.0f} |"
        )
