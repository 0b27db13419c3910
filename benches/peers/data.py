"""What becomes of data before a network sees it, in other tools and in stlpipe, in turns: a JSON line for each.

    python data.py [--stlpipe PATH] [--rounds 3] [--images 2000] [--megabytes 1024] [--rows augment hash decode]

augment: torchvision's transforms on Pillow images draw the samples of version 2.2 (a rotation, a crop of any size to 96 x 96,
colour jitter, a flip) on one thread; `by_peer` is stlpipe's images per second over torchvision's.
hash: b3sum reads a file that the system has in memory; `by_peer` is stlpipe's bytes per second over b3sum's.
decode: two copies of the decoded bytes from memory to memory; `by_peer` is stlpipe's seconds over theirs. The archive is
.gz, but nothing in it is compressed, since the cost of inflating depends on the pictures.
Of each the best round is told, since other work on the machine only slows.
"""

import argparse
import io
import json
import os
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path

import numpy


def ours(words):
    """The JSON line of a bench."""
    return json.loads(subprocess.run([str(word) for word in words], capture_output=True, text=True, check=True).stdout)


def augment(args, _):
    import torch
    from PIL import Image
    from torchvision import transforms

    torch.set_num_threads(1)
    torch.manual_seed(0)
    draw = transforms.Compose([
        transforms.RandomRotation(45),
        transforms.RandomResizedCrop(96),
        transforms.ColorJitter(0.3, 0.3, 0.3, 0.3),
        transforms.RandomHorizontalFlip(0.5),
    ])
    pixels = numpy.random.default_rng(0).integers(0, 256, (100, 96, 96, 3), dtype=numpy.uint8)
    images = [Image.fromarray(image) for image in pixels]

    def peer():
        begin = time.perf_counter()
        for number in range(args.images):
            numpy.asarray(draw(images[number % len(images)]))
        return args.images / (time.perf_counter() - begin)

    words = [args.stlpipe, "bench", "augment", "--images", args.images, "--threads", 1]
    return peer, lambda: ours(words)["images_per_second"], max, "images_per_second"


def hash_file(args, folder):
    path = folder / "bytes"
    size = args.megabytes << 20
    with path.open("wb") as file:
        for _ in range(args.megabytes):
            file.write(os.urandom(1 << 20))
    path.read_bytes()

    def peer():
        begin = time.perf_counter()
        subprocess.run(["b3sum", path], capture_output=True, check=True)
        return size / (time.perf_counter() - begin)

    return peer, lambda: ours([args.stlpipe, "bench", "hash", path])["bytes_per_second"], max, "bytes_per_second"


def decode(args, folder):
    """An archive like STL-10's, but of bytes that are packed as they are: inflating is another story."""
    count = max(10, args.megabytes * (1 << 20) // (96 * 96 * 3) // 8)
    images = numpy.random.default_rng(0).integers(0, 256, (count, 3, 96, 96), dtype=numpy.uint8)
    labels = (numpy.arange(count) % 10 + 1).astype(numpy.uint8)
    path = folder / "archive.tar.gz"
    names = ["airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"]
    members = {"class_names.txt": "\n".join(names).encode() + b"\n"}
    for part in ("train", "test"):
        members |= {f"{part}_X.bin": images.tobytes(), f"{part}_y.bin": labels.tobytes()}
    with tarfile.open(path, "w:gz", compresslevel=0) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(f"stl10_binary/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    decoded = numpy.concatenate([images.ravel(), images.ravel()])
    first, second = numpy.empty_like(decoded), numpy.empty_like(decoded)

    def peer():
        begin = time.perf_counter()
        numpy.copyto(first, decoded)
        numpy.copyto(second, first)
        return time.perf_counter() - begin

    return peer, lambda: ours([args.stlpipe, "bench", "decode", path])["seconds"], min, "seconds"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stlpipe", default="target/release/stlpipe")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--rows", nargs="+", default=["augment", "hash", "decode"])
    args = parser.parse_args()
    rows = {"augment": augment, "hash": hash_file, "decode": decode}
    for name in args.rows:
        with tempfile.TemporaryDirectory() as folder:
            peer, own, better, unit = rows[name](args, Path(folder))
            rounds = [(own(), peer()) for _ in range(args.rounds)]
        best = [better(figures) for figures in zip(*rounds)]
        line = {"work": name, "unit": unit, "stlpipe": best[0], "peer": best[1], "by_peer": round(best[0] / best[1], 2)}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
