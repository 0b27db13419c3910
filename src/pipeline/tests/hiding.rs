//! Claims that no mistake hides another.

use super::problems;

#[test]
fn wrong_parameters_hide_no_wrong_inputs() {
    let told = problems(
        "\
stages:
  archive: { uses: download, in: { x: images.a }, with: { retries: many } }
  images: { uses: split, in: { archive: [] }, with: { parts: [a], each: 20 } }
  a: { uses: train, in: { train: image.a, vall: images.a }, with: { epochs: 1, lr: -1 } }
  b: { uses: train, in: { train: images.a, val: images.a, model: images.a }, with: { lr: x, batch: 21 } }
  c: { uses: train, in: { train: images.a, val: images.a, model: a.mdel }, with: { batch: x } }
  parts: { uses: split, in: { archive: a.model }, with: { parts: a } }
  d: { uses: train, in: { train: parts.a, val: archive }, with: { lr: 1 } }
",
    );
    for message in [
        "parameter `url` is missing",
        "stage `archive` has no input `x`",
        "stage `a` has no input `vall`",
        "stage `a` needs an input `val`",
        "`model` takes a model, and this is a dataset",
        "stage `a` has no output `mdel`",
        "`archive` takes a file, and this is a model",
        "`val` takes a dataset, and this is a file",
        "batch 21 is more than the 20 samples of `images.a`",
    ] {
        assert!(told.contains(message), "{message}: {told}");
    }
    assert_eq!(told.matches("error:").count(), 16, "{told}");
}
