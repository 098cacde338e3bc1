//! The inputs of a batch as the kernels read them: which rows belong together, and which are pooled.

/// An input's rows, and the row of them that is pooled.
#[derive(Clone, Copy, Debug)]
pub struct Sequence {
    pub length: usize,
    pub pooled: usize,
}

/// The tables of a batch.
#[derive(Debug, Default)]
pub struct Tables {
    /// Of each group of queries, eight numbers: see attention.wgsl.
    pub groups: Vec<u32>,
    /// The same for the pooled rows.
    pub pooled_groups: Vec<u32>,
    /// The pooled rows' places among all rows.
    pub pooled_rows: Vec<u32>,
    /// Rows of all sequences.
    pub rows: usize,
}

/// Numbers that describe a group.
pub const GROUP: usize = 8;

impl Tables {
    /// The tables of sequences that follow one another, with so many queries in a group. In a causal tower, a row sees those up to its own.
    pub fn new(sequences: &[Sequence], is_causal: bool, queries: usize) -> Self {
        let mut tables = Self::default();
        for (index, Sequence { length, pooled }) in sequences.iter().enumerate() {
            let start = tables.rows;
            let group = |out: usize, queries: usize, first: usize, count: usize| {
                let (seen, more) = if is_causal { (first + 1, 1) } else { (*length, 0) };
                [out, queries, count, start, seen, more, 0, 0].map(|number| number as u32)
            };
            for first in (0..*length).step_by(queries) {
                let row = start + first;
                let count = queries.min(length - first);
                tables.groups.extend(group(row, row, first, count));
            }
            tables.pooled_groups.extend(group(index, index, *pooled, 1));
            tables.pooled_rows.push((start + pooled) as u32);
            tables.rows += length;
        }
        tables
    }
}

/// The bytes of a table.
pub fn bytes_of(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_stay_within_their_sequence() {
        let sequences = [Sequence { length: 9, pooled: 8 }, Sequence { length: 3, pooled: 0 }];
        let tables = Tables::new(&sequences, true, 8);
        let groups: Vec<_> = tables.groups.chunks(GROUP).map(|group| &group[..6]).collect();
        assert_eq!(groups, [[0, 0, 8, 0, 1, 1], [8, 8, 1, 0, 9, 1], [9, 9, 3, 9, 1, 1]]);
        let groups: Vec<_> = tables.pooled_groups.chunks(GROUP).map(|group| &group[..6]).collect();
        assert_eq!(groups, [[0, 0, 1, 0, 9, 1], [1, 1, 1, 9, 1, 1]]);
        assert_eq!((tables.pooled_rows, tables.rows), (vec![8, 9], 12));
        let tables = Tables::new(&sequences, false, 8);
        let seen: Vec<_> = tables.groups.chunks(GROUP).map(|group| &group[4..6]).collect();
        assert_eq!(seen, [[9, 0], [9, 0], [3, 0]]);
    }
}
