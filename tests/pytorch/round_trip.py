"""Takes stlpipe's models to PyTorch and back, and compares what both think of the same images.

    python round_trip.py STLPIPE ARCHIVE [NETWORK]...

STLPIPE is the program, ARCHIVE an STL-10 archive with few images. Each network is trained for two short epochs and
judged by stlpipe; PyTorch loads its `model.safetensors` with `load_state_dict(strict=True)` and computes logits of
the same images, alone and averaged with those of their mirror images. Then PyTorch changes the weights, saves them,
and stlpipe judges them through `weights:`, in f32 and in f16. Prints one line per comparison: the largest difference
of two logits over the largest logit. Fails if one is 1e-5 or more.
"""

import argparse
import pathlib
import subprocess
import tempfile

import torch
from networks import network
from safetensors.torch import load_file, save_file

PIPELINE = """
name: round_trip
stages:
  archive: {{ uses: download, with: {{ url: "{archive}" }} }}
  images: {{ uses: decode, in: {{ archive: archive }} }}
  split: {{ uses: split, in: {{ images: images.train }}, with: {{ parts: {{ train: 0.8, val: 0.2 }} }} }}
  train:
    uses: train
    in: {{ train: split.train, val: split.val }}
    with: {{ model: {model}, activation: {activation}, epochs: 2, batch: 16 }}
  test: {{ uses: evaluate, in: {{ model: train.model, images: images.test }} }}
  flips: {{ uses: evaluate, in: {{ model: train.model, images: images.test }}, with: {{ average_flips: true }} }}
"""
BACK = """
  {name}:
    uses: evaluate
    in: {{ images: images.test }}
    with: {{ weights: {name}.safetensors, model: {model}, activation: {activation} }}
"""
MEAN = torch.tensor([0.507, 0.487, 0.441]).view(3, 1, 1)
STD = torch.tensor([0.267, 0.256, 0.276]).view(3, 1, 1)
LIMIT = 1e-5


class Run:
    """A pipeline in a folder of its own."""

    def __init__(self, stlpipe, folder, text):
        self.stlpipe, self.folder, self.text = stlpipe, pathlib.Path(folder), text
        self.call()

    def call(self, more=""):
        self.text += more
        (self.folder / "pipeline.yaml").write_text(self.text)
        subprocess.run([self.stlpipe, "run", "pipeline.yaml"], cwd=self.folder, check=True, capture_output=True)

    def get(self, stage, port):
        return self.folder / "data" / "round_trip" / stage / port

    def logits(self, stage):
        return load_file(self.get(stage, "logits.safetensors"))["logits"]

    def images(self):
        shards = sorted(self.get("images", "test").glob("images-*.safetensors"))
        pixels = torch.cat([load_file(shard)["images"] for shard in shards])
        return (pixels.float() / 255 - MEAN) / STD


def relative(ours, theirs):
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


@torch.no_grad()
def compare(stlpipe, archive, name):
    model = name.removesuffix("_leaky")
    activation = "leaky_relu(0.1)" if name.endswith("_leaky") else "relu"
    differences = {}
    with tempfile.TemporaryDirectory() as folder:
        run = Run(stlpipe, folder, PIPELINE.format(archive=archive, model=model, activation=activation))
        images = run.images()
        net = network(name).eval()
        net.load_state_dict(load_file(run.get("train", "model") / "model.safetensors"), strict=True)
        logits, mirrored = net(images), net(images.flip(3))
        differences["to PyTorch"] = relative(run.logits("test"), logits)
        mean = (logits.softmax(1) + mirrored.softmax(1)) / 2
        differences["flips"] = relative(run.logits("flips"), mean.log())

        for parameter in net.parameters():
            parameter += 0.01 * torch.randn_like(parameter) * parameter.std().nan_to_num()
        save_file(net.state_dict(), run.folder / "back.safetensors")
        run.call(BACK.format(name="back", model=model, activation=activation))
        differences["back"] = relative(run.logits("back"), net(images))

        save_file(net.half().state_dict(), run.folder / "half.safetensors")
        run.call(BACK.format(name="half", model=model, activation=activation))
        differences["back in f16"] = relative(run.logits("half"), net.float()(images))
    for what, difference in differences.items():
        print(f"{name:16} {what:12} {difference:.1e}", flush=True)
    return max(differences.values())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stlpipe", type=pathlib.Path)
    parser.add_argument("archive", type=pathlib.Path)
    parser.add_argument("networks", nargs="*", metavar="NETWORK")
    arguments = parser.parse_args()
    torch.manual_seed(1)
    networks = arguments.networks or ["lenet", "custom_net_leaky", "resnext"]
    worst = max(compare(arguments.stlpipe.resolve(), arguments.archive.resolve(), name) for name in networks)
    if worst >= LIMIT:
        raise SystemExit(f"{worst:.1e} is not below {LIMIT}")


if __name__ == "__main__":
    main()
