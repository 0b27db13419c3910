"""Trains and evaluates the networks in PyTorch and in stlpipe, in turns, and prints a JSON line for each.

    python networks.py [--stlpipe PATH] [--rounds 3] [--models lenet ..] [--modes train evaluate]

A batch is 64 images of 96 x 96. PyTorch runs with as many threads and in both memory layouts, and the better one counts; a
training step is forward, backward and Adam. Of each the best round is told, since other work on the machine only slows.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "pytorch"))
from networks import network  # noqa: E402

BATCH, PIXELS = 64, 96


def pytorch(model, mode, layout, steps):
    """Images per second of PyTorch."""
    torch.manual_seed(0)
    net = network(model).to(memory_format=layout)
    images = torch.randn(BATCH, 3, PIXELS, PIXELS).contiguous(memory_format=layout)
    labels = torch.randint(0, 10, (BATCH,))
    adam = torch.optim.Adam(net.parameters(), lr=1e-3, weight_decay=1e-4)

    def train():
        loss = functional.cross_entropy(net(images), labels)
        adam.zero_grad()
        loss.backward()
        adam.step()

    def evaluate():
        with torch.no_grad():
            net(images)

    net.train(mode == "train")
    step = train if mode == "train" else evaluate
    step()
    begin = time.perf_counter()
    for _ in range(steps):
        step()
    return steps * BATCH / (time.perf_counter() - begin)


def ours(stlpipe, model, mode, threads, steps):
    """Images per second of stlpipe."""
    words = [stlpipe, "bench", mode, "--model", model, "--size", PIXELS, "--batch", BATCH]
    words += ["--steps", steps, "--threads", threads, "--device", "cpu"]
    said = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=True).stdout
    return json.loads(said)["images_per_second"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stlpipe", default="target/release/stlpipe")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--models", nargs="+", default=["lenet", "custom_net", "resnext"])
    parser.add_argument("--modes", nargs="+", default=["train", "evaluate"])
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    layouts = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
    for model in args.models:
        for mode in args.modes:
            best = {"stlpipe": 0.0, **dict.fromkeys(layouts, 0.0)}
            for _ in range(args.rounds):
                best["stlpipe"] = max(best["stlpipe"], ours(args.stlpipe, model, mode, args.threads, args.steps))
                for name, layout in layouts.items():
                    best[name] = max(best[name], pytorch(model, mode, layout, args.steps))
            ratio = best["stlpipe"] / max(best[name] for name in layouts)
            figures = {name: round(value, 1) for name, value in best.items()}
            print(json.dumps({"model": model, "mode": mode, **figures, "by_pytorch": round(ratio, 2)}), flush=True)


if __name__ == "__main__":
    main()
