//! Bars on stderr, if that is a terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar for the bytes of what `name` says.
pub fn bytes(name: &str) -> ProgressBar {
    let message = if name.is_empty() { String::new() } else { format!("{name} ") };
    let style = "{msg}{wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
    ProgressBar::new(0).with_style(style_of(style)).with_message(message)
}

/// A bar for so many inputs.
pub fn inputs(count: u64) -> ProgressBar {
    ProgressBar::new(count).with_style(style_of("{wide_bar} {pos} of {len}, {per_sec}, {eta} left"))
}

fn style_of(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is a constant")
}
