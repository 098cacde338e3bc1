// The row that stands in the list.
@group(0) @binding(5) var<storage, read> listed: array<u32>;

fn from_row(row: u32) -> u32 { return listed[row]; }
