"""Writes what PyTorch computes for a network on weights and images that a formula gives, for tests/fixtures.

    python make_reference.py lenet 96 > ../fixtures/lenet_96.json

Element i of tensor t is u = (splitmix64(t * 2^32 + i) >> 40) / 2^24 - 0.5, scaled as `weight` says; the images
are 2 u of tensor 1000, and image n has label (7 n + 3) mod 10. Everything is computed in f64. `f32_error` is the
relative l2 distance of PyTorch's own f32 run, the yardstick for another implementation in f32.
"""

import argparse
import copy
import json
import math

import numpy
import torch
from networks import network
from torch.nn import functional


def uniform(t, count):
    """The first `count` values of tensor t, in [-0.5, 0.5)."""
    with numpy.errstate(over="ignore"):
        x = numpy.arange(count, dtype=numpy.uint64) + numpy.uint64(t << 32) + numpy.uint64(0x9E3779B97F4A7C15)
        x = (x ^ x >> numpy.uint64(30)) * numpy.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ x >> numpy.uint64(27)) * numpy.uint64(0x94D049BB133111EB)
        x = x ^ x >> numpy.uint64(31)
    return torch.from_numpy((x >> numpy.uint64(40)).astype(numpy.float64) / 2**24 - 0.5)


def weight(name, parameter, norms, u):
    if any(name.startswith(norm + ".") for norm in norms):
        return 0.2 * u if name.endswith("bias") else 1 + 0.2 * u
    if name.endswith("bias"):
        return (1 if name.startswith("fc") else 0) + 0.1 * u
    gain = 2 if parameter.dim() == 4 else 1
    return 2 * math.sqrt(3) * math.sqrt(gain / parameter[0].numel()) * u


def parameters_in_order(net):
    """Convolutions, then norms, then the head, for the networks of blocks; torchvision's order for ResNeXt."""
    names = [name for name, _ in net.named_parameters()]
    if not hasattr(net, "count"):
        return {name: name for name in names}
    place = lambda name, prefix: int(name.removeprefix(prefix).split(".")[0]) - 1
    part = lambda name: name.split(".")[1]
    convs = {n: f"convs.{place(n, 'layer_')}.{part(n)}" for n in names if n.startswith("layer_")}
    norms = {n: f"norms.{place(n, 'conv2_bn')}.{part(n)}" for n in names if n.startswith("conv2_bn")}
    head = {n: f"fc.{part(n)}" for n in names if n.startswith("fc")}
    return convs | norms | head


def build(name):
    net = network(name)
    norms = [n for n, module in net.named_modules() if isinstance(module, torch.nn.BatchNorm2d)]
    with torch.no_grad():
        for t, parameter_name in enumerate(parameters_in_order(net)):
            parameter = net.get_parameter(parameter_name)
            u = uniform(t, parameter.numel()).reshape(parameter.shape)
            parameter.copy_(weight(parameter_name, parameter, norms, u).float())
    return net


def run(net, images, labels, threads):
    torch.set_num_threads(threads)
    names = parameters_in_order(net)
    buffer_name = {}
    for name, _ in net.named_buffers():
        owner, part = name.rsplit(".", 1)
        buffer_name[name] = names[owner + ".weight"].rsplit(".", 1)[0] + "." + part
    state = lambda: {names[n]: p.detach().clone() for n, p in net.named_parameters()}
    found = {}
    net.eval()
    with torch.no_grad():
        found["logits_eval_before"] = net(images)
    net.train()
    adam = torch.optim.Adam(net.parameters(), lr=1e-4, weight_decay=1e-4)
    for step in (1, 2, 3):
        adam.zero_grad()
        logits = net(images)
        loss = functional.cross_entropy(logits, labels)
        loss.backward()
        found[f"loss_{step}"] = loss.detach()
        if step == 1:
            found["logits_train"] = logits.detach()
            found["grads"] = {names[n]: p.grad.clone() for n, p in net.named_parameters()}
        adam.step()
        if step == 1:
            found["buffers_after_1"] = {
                buffer_name[n]: b.clone() for n, b in net.named_buffers() if b.is_floating_point()
            }
        if step != 2:
            found[f"params_after_{step}"] = state()
    net.eval()
    with torch.no_grad():
        found["logits_eval_after_3"] = net(images)
    return found


def describe(exact, rounded):
    if isinstance(exact, dict):
        return {name: describe(exact[name], rounded[name]) for name in exact}
    error = ((rounded.double() - exact).norm() / exact.norm()).item()
    if exact.dim() == 0:
        return {"value": exact.item(), "f32_error": error}
    flat = exact.flatten()
    step = max(1, flat.numel() // 16)
    at = list(range(0, flat.numel(), step))[:16]
    return {
        "shape": list(exact.shape), "sum": flat.sum().item(), "l2": flat.norm().item(), "f32_error": error,
        "at": at, "values": flat[at].tolist(),
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", help="lenet, lenet_leaky, custom_net, custom_net_leaky, resnext, ..")
    parser.add_argument("pixels", type=int)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1, help="of the run in f32")
    options = parser.parse_args()

    batch, pixels = options.batch, options.pixels
    images = (2 * uniform(1000, batch * 3 * pixels * pixels)).float().reshape(batch, 3, pixels, pixels)
    labels = torch.tensor([(7 * n + 3) % 10 for n in range(batch)])
    net = build(options.network)
    exact = run(copy.deepcopy(net).double(), images.double(), labels, torch.get_num_threads())
    rounded = run(net, images, labels, options.threads)
    names = parameters_in_order(net)
    reference = {
        "model": options.network, "resolution": pixels, "batch": batch, "lr": 1e-4, "weight_decay": 1e-4,
        "parameters": sum(p.numel() for p in net.parameters()), "parameter_names": list(names.values()),
    }  # fmt: skip
    print(json.dumps(reference | describe(exact, rounded), indent=1))


if __name__ == "__main__":
    main()
