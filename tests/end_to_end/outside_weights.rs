//! Weights that come and go as safetensors files, as PyTorch reads and writes them.

use crate::incremental::EXPERIMENT;
use crate::workspace::Workspace;

const OUTSIDE: &str = r#"
  outside:
    uses: evaluate
    in: { images: images.test }
    with: { weights: net.safetensors, model: lenet, transforms: [ { resize: 32 } ] }
"#;

fn with_outside(text: &str) -> String {
    format!("{EXPERIMENT}{text}")
}

#[test]
fn a_model_that_goes_out_and_comes_back_is_judged_the_same() {
    let mut ws = Workspace::new(EXPERIMENT);
    ws.run();
    ws.call(&["get", "pipeline.yaml", "tune.model", "-o", "model"]).succeeds();
    ws.write("pipeline.yaml", with_outside(OUTSIDE));
    ws.call(&["run", "pipeline.yaml"])
        .exits(2)
        .says(["stage `outside` reads `net.safetensors`", "--> pipeline.yaml:32:22"]);
    let weights = std::fs::read(ws.path("model/model.safetensors")).expect("it was copied");
    ws.write("net.safetensors", &weights);
    ws.run().ran(["outside"]);
    assert_eq!(ws.digests("outside"), ws.digests("test"));

    // The file counts by its content.
    std::fs::rename(ws.path("net.safetensors"), ws.path("moved.safetensors")).expect("renamed");
    ws.set("outside.weights", "moved.safetensors");
    ws.run().ran([]);
    let mut other = weights.clone();
    *other.last_mut().expect("not empty") ^= 1;
    ws.write("moved.safetensors", other);
    let ran = ws.run().ran(["outside"]);
    assert!(ran.reasons("outside")[0].contains("weights"), "{ran:#?}");
}

#[test]
fn a_model_from_both_sides_or_none_is_refused_before_anything_runs() {
    let both = with_outside(&OUTSIDE.replace("in: { images", "in: { model: tune.model, images"));
    Workspace::new(&both).call(&["run", "pipeline.yaml"]).exits(2).says([
        "stage `outside` has both an input `model` and `weights`",
        "keep one of them",
        "pipeline.yaml:",
    ]);
    let none = with_outside(&OUTSIDE.replace("weights: net.safetensors, model: lenet, ", ""));
    Workspace::new(&none)
        .call(&["run", "pipeline.yaml"])
        .exits(2)
        .says(["stage `outside` needs an input `model` or `weights`", "or give `weights`"]);
}
