"""Writes the same graph of N small commands for stlpipe, ninja and DVC, each into a directory of its own.

    python3 graph.py 1000 DIR    # DIR/stlpipe/pipeline.yaml, DIR/ninja/build.ninja, DIR/dvc/dvc.yaml

The stages stand in layers of 50, each reads two of the layer before and writes one line.
"""

import sys
from pathlib import Path

WIDTH = 50


def inputs(stage):
    above = stage - WIDTH
    if above < 0:
        return []
    return sorted({above, above // WIDTH * WIDTH + (7 * above + 3) % WIDTH})


def main(count, folder):
    for name in ["stlpipe", "ninja", "dvc"]:
        (folder / name).mkdir(parents=True, exist_ok=True)
    with open(folder / "stlpipe" / "pipeline.yaml", "w") as out:
        out.write("name: graph\nstages:\n")
        for stage in range(count):
            bound = ", ".join(f"i{nth}: s{other}" for nth, other in enumerate(inputs(stage)))
            bound = f" in: {{ {bound} }}," if bound else ""
            out.write(f"  s{stage}: {{ uses: command,{bound} with: {{ run: echo {stage} > o, outs: {{ o: o }} }} }}\n")
    with open(folder / "ninja" / "build.ninja", "w") as out:
        out.write("rule r\n  command = echo $n > $out\n")
        for stage in range(count):
            out.write(f"build o{stage}: r {' '.join(f'o{other}' for other in inputs(stage))}\n  n = {stage}\n")
    with open(folder / "dvc" / "dvc.yaml", "w") as out:
        out.write("stages:\n")
        for stage in range(count):
            deps = "".join(f"      - o{other}\n" for other in inputs(stage))
            deps = f"    deps:\n{deps}" if deps else ""
            out.write(f"  s{stage}:\n    cmd: echo {stage} > o{stage}\n{deps}    outs:\n      - o{stage}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
