"""How long a checkpoint of ResNet-18 with its AdamW state holds up the training thread, against torch.save.

MedFusion writes while the next batch goes forward and backward, here 32 images at 64², and the figure is what the training thread
waits before that batch and before the optimiser's step; where steps are too short for that, or on a GPU, all is copied at once.
"""

import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
import torch
import torchvision
from rounds import environment, interleave, report

from medfusion_jupyter.training.checkpoints import CheckpointWriter, optimizer_tensors

if __name__ == "__main__":
    torch.set_num_threads(1)
    model = torchvision.models.resnet18(weights=None)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    model(torch.randn(2, 3, 64, 64)).sum().backward()
    optimizer.step()
    writer, images = CheckpointWriter(), torch.randn(32, 3, 64, 64)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)

        def plain() -> float:
            began = time.perf_counter()
            torch.save({"m": model.state_dict(), "o": optimizer.state_dict()}, folder / "plain.pt")
            return time.perf_counter() - began

        def ours(*, resting: bool) -> float:
            tensors = {f"model/{k}": v for k, v in model.state_dict().items()}
            weights = {f"model/{k}" for k, _ in model.named_parameters()}
            moments = {f"optimizer/{k}": v for k, v in optimizer_tensors(optimizer).items()}
            names = [*weights, *moments] if resting else []
            began = time.perf_counter()
            writer.save(folder / "ours.safetensors", {**tensors, **moments}, {}, lambda size: None, names)
            blocked = time.perf_counter() - began
            model(images).sum().backward()
            began = time.perf_counter()
            writer.let_change()
            blocked += time.perf_counter() - began
            writer.wait()  # outside the figure: an epoch lies between two checkpoints
            return blocked

        print(environment("torch", "safetensors"))
        report(
            "Training thread blocked by a checkpoint (140 MB)",
            interleave(
                {
                    "torch.save": plain,
                    "MedFusion (durable), written during a step": lambda: ours(resting=True),
                    "MedFusion (durable), copied at once": lambda: ours(resting=False),
                },
                rounds=9,
            ),
            against="torch.save",
            unit="ms",
            scale=1000,
        )
