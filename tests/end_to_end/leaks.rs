//! Images that a network learns from are not those that it is judged by.

use crate::incremental::EXPERIMENT;
use crate::workspace::Workspace;

#[test]
fn a_network_is_not_judged_by_what_it_has_learnt_from_unless_somebody_insists() {
    let mut ws = Workspace::new(&EXPERIMENT.replace("images: images.test", "images: images.train"));
    let ran = ws.run().failed(["test"]);
    // 32 samples come from 32 of the 60 images of `split.train`.
    assert!(ran.error().contains("images: 32 of its 80 images are among those that the network"), "{ran:#?}");
    assert!(ran.error().contains("allow_overlap: true"), "{ran:#?}");
    ws.set("test.allow_overlap", true);
    assert_eq!(ws.run().ran(["test"]).metric("test", "overlap"), 32.0);
    ws.set("test.allow_overlap", false);
    ws.run().failed(["test"]);
}

#[test]
fn stored_draws_are_recognised_by_the_images_they_come_from() {
    let ws = Workspace::new(&EXPERIMENT.replace("in: { images: split.val }", "in: { images: images.train }"));
    let ran = ws.run().failed(["train"]);
    assert!(ran.error().starts_with("val: ") && ran.error().contains("of its 16 images"), "{ran:#?}");

    // Drawing first and dividing afterwards is safe: draws of one image stay together.
    let text = EXPERIMENT
        .replace("in: { images: images.train }", "in: { images: drawn }")
        .replace("  split:", "  drawn: { uses: augment, in: { images: images.train }, with: { samples: 160, transforms: [ { rotate: 45 } ] } }\n  split:");
    let ran = Workspace::new(&text).run();
    assert_eq!(ran.said.code, Some(0), "{ran:#?}");
}
