"""How long a checkpoint of ResNet-18 with its AdamW state holds up the training thread, against torch.save."""

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
    writer = CheckpointWriter()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)

        def plain() -> float:
            began = time.perf_counter()
            torch.save({"m": model.state_dict(), "o": optimizer.state_dict()}, folder / "plain.pt")
            return time.perf_counter() - began

        def ours() -> float:
            tensors = {f"model/{k}": v for k, v in model.state_dict().items()}
            tensors |= {f"optimizer/{k}": v for k, v in optimizer_tensors(optimizer).items()}
            began = time.perf_counter()
            writer.save(folder / "ours.safetensors", tensors, {}, lambda size: None)
            blocked = time.perf_counter() - began
            writer.wait()  # outside the figure: an epoch lies between two checkpoints
            return blocked

        print(environment("torch", "safetensors"))
        report(
            "Training thread blocked by a checkpoint (140 MB)",
            interleave({"torch.save": plain, "MedFusion (durable)": ours}, rounds=9),
            against="torch.save",
            unit="ms",
            scale=1000,
        )
