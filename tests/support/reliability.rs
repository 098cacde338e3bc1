//! Records facts for docs/reliability.md, from the tests that have just shown them.

use std::fs::OpenOptions;
use std::io::Write as _;

/// Records a fact, after everything it says has been asserted.
///
/// `section` is one of those in tests/reliability/record.mjs. `what` names the fact; a later fact with the
/// same section and name replaces it. `tried` and `outcome` are words and figures.
pub fn record(section: &str, what: &str, tried: &str, outcome: &str) {
    let fact = serde_json::json!({
        "section": section, "what": what, "tried": tried, "outcome": outcome,
    });
    // One write per line: tests in several processes write to the file at the same time.
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(super::data_directory().join("reliability.jsonl"))
        .and_then(|mut file| file.write_all(format!("{fact}\n").as_bytes()))
        .expect("the test data's directory can be written to");
}
