"""Runs the graph of graph.py through stlpipe, ninja and (if it is there) DVC, one after the other in turns, and prints
one JSON line with the shortest times and their ratios.

    python3 compare.py 1000 DIR [path/to/stlpipe]     # DIR must be on the disk that is to be measured
"""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import graph

TURNS = 10


def timed(command, folder):
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def main(count, folder, stlpipe):
    shutil.rmtree(folder, ignore_errors=True)
    graph.main(count, folder)
    tools = {"stlpipe": [stlpipe, "run", "pipeline.yaml"], "ninja": ["ninja"]}
    # DVC takes about a second for each stage.
    if shutil.which("dvc") and count <= 100:
        tools["dvc"] = ["dvc", "repro"]
        for command in [["git", "init"], ["dvc", "init"]]:
            subprocess.run(command, cwd=folder / "dvc", check=True, capture_output=True)
    result = {"stages": count}
    for name, command in tools.items():
        result[f"{name}_cold"] = timed(command, folder / name)
    nothing = {name: [] for name in tools}
    for _ in range(TURNS):
        for name, command in tools.items():
            nothing[name].append(timed(command, folder / name))
    for name, times in nothing.items():
        result[f"{name}_nothing"] = min(times)
    for name in tools:
        if name != "stlpipe":
            for what in ["cold", "nothing"]:
                result[f"{what}_by_{name}"] = result[f"stlpipe_{what}"] / result[f"{name}_{what}"]
    print(json.dumps({key: round(value, 5) for key, value in result.items()}))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), str(Path(sys.argv[3] if len(sys.argv) > 3 else "stlpipe").resolve()))
