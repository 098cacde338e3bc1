//! Computes several inputs together, so that each weight is read and unpacked once for all of them.
//!
//! Every row of an int8 product is computed by itself, and attention stays within an input. So an input's vector does
//! not depend on what it is computed with, to the last bit. Towers with f32 products, of which that is not true, say
//! that only one input at a time may be computed.

use std::ops::Range;

use crate::embedding::Embedding;
use crate::error::{Error, Result};

/// The embeddings of inputs of which some may have failed already, in their order.
///
/// `rows` says how many rows of activations an input takes, `most_rows` how many are computed together, and `forward`
/// computes the projections of several. If `forward` fails, for example because there is not enough memory for so
/// many, it is called again with half as many; so an input's error is its own.
pub(crate) fn embed_batches<T>(
    inputs: Vec<Result<T>>,
    rows: impl Fn(&T) -> usize,
    most_rows: usize,
    forward: impl Fn(&[T]) -> Result<Vec<Vec<f32>>>,
    normalize: bool,
) -> Vec<Result<Embedding>> {
    let mut batches = Batches::new(inputs, rows, most_rows);
    while let Some(batch) = batches.next() {
        let projections = forward(batch);
        batches.put(projections, normalize);
    }
    batches.finish()
}

/// Like [`embed_batches`], but `forward` is awaited.
#[cfg(feature = "gpu")]
pub(crate) async fn await_batches<T>(
    inputs: Vec<Result<T>>,
    rows: impl Fn(&T) -> usize,
    most_rows: usize,
    forward: impl AsyncFn(&[T]) -> Result<Vec<Vec<f32>>>,
    normalize: bool,
) -> Vec<Result<Embedding>> {
    let mut batches = Batches::new(inputs, rows, most_rows);
    while let Some(batch) = batches.next() {
        let projections = forward(batch).await;
        batches.put(projections, normalize);
    }
    batches.finish()
}

/// Inputs on their way through a tower.
struct Batches<T> {
    /// The inputs that have not failed before.
    good: Vec<T>,
    /// For each input, whether it is one of them, or why not.
    failures: Vec<Option<Error>>,
    /// What is to be computed together, as ranges of `good`, the next one last.
    batches: Vec<Range<usize>>,
    /// The results so far, one for each of `good`.
    embedded: Vec<Result<Embedding>>,
}

impl<T> Batches<T> {
    fn new(inputs: Vec<Result<T>>, rows: impl Fn(&T) -> usize, most_rows: usize) -> Self {
        let (mut good, mut failures) = (Vec::new(), Vec::new());
        for input in inputs {
            match input {
                Ok(input) => {
                    good.push(input);
                    failures.push(None);
                }
                Err(error) => failures.push(Some(error)),
            }
        }
        let (mut batches, mut start) = (Vec::new(), 0);
        while start < good.len() {
            let mut total = 0;
            let together = good[start..].iter().take_while(|input| {
                total += rows(input);
                total <= most_rows
            });
            let end = start + together.count().max(1);
            batches.push(start..end);
            start = end;
        }
        batches.reverse();
        let embedded = Vec::with_capacity(good.len());
        Self { good, failures, batches, embedded }
    }

    /// The inputs to compute together.
    fn next(&self) -> Option<&[T]> {
        self.batches.last().map(|batch| &self.good[batch.clone()])
    }

    /// Takes the projections of the inputs that [`Batches::next`] returned. If there are none, halves of them come next.
    fn put(&mut self, projections: Result<Vec<Vec<f32>>>, normalize: bool) {
        let Some(Range { start, end }) = self.batches.pop() else { return };
        match projections {
            Ok(projections) => {
                let embeddings = projections.into_iter();
                self.embedded.extend(embeddings.map(|values| Embedding::new(values, normalize)));
            }
            Err(error) if end - start == 1 => self.embedded.push(Err(error)),
            Err(_) => {
                let middle = start + (end - start) / 2;
                self.batches.extend([middle..end, start..middle]);
            }
        }
    }

    /// The result of each input, in their order.
    fn finish(self) -> Vec<Result<Embedding>> {
        let mut embedded = self.embedded.into_iter();
        let next = |failure: Option<_>| match failure {
            Some(error) => Err(error),
            None => embedded.next().expect("there is one for each good input"),
        };
        self.failures.into_iter().map(next).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::error::ErrorKind;

    fn failed(kind: ErrorKind) -> Error {
        Error::new(kind, "for a test")
    }

    #[test]
    fn results_keep_their_order_around_failures() {
        let inputs =
            vec![Ok(150), Err(failed(ErrorKind::InvalidInput)), Ok(300), Ok(100), Ok(900), Ok(1)];
        let batches = RefCell::new(Vec::new());
        let forward = |batch: &[usize]| {
            batches.borrow_mut().push(batch.to_vec());
            Ok(batch.iter().map(|rows| vec![*rows as f32, 0.0]).collect())
        };
        let embedded = embed_batches(inputs, |rows| *rows, 400, forward, false);
        let firsts: Vec<_> =
            embedded.iter().map(|one| one.as_ref().ok().map(|one| one.values()[0])).collect();
        let [a, b, c, d, e] = [150.0, 300.0, 100.0, 900.0, 1.0].map(Some);
        assert_eq!(firsts, [a, None, b, c, d, e]);
        assert_eq!(*batches.borrow(), [&[150][..], &[300, 100], &[900], &[1]]);
    }

    #[test]
    fn what_fails_together_is_tried_in_halves() {
        let calls = RefCell::new(Vec::new());
        let forward = |batch: &[usize]| {
            calls.borrow_mut().push(batch.len());
            match batch {
                [7] => Err(failed(ErrorKind::Internal)),
                _ if batch.len() > 2 || batch.contains(&7) => Err(failed(ErrorKind::LowMemory)),
                _ => Ok(batch.iter().map(|rows| vec![*rows as f32]).collect()),
            }
        };
        let inputs = Vec::from([1, 2, 3, 7, 5].map(Ok));
        let kinds: Vec<_> = embed_batches(inputs, |rows| *rows, 400, forward, false)
            .into_iter()
            .map(|one| one.map(|one| one.values()[0]).map_err(|error| error.kind()))
            .collect();
        assert_eq!(kinds, [Ok(1.0), Ok(2.0), Ok(3.0), Err(ErrorKind::Internal), Ok(5.0)]);
        assert_eq!(*calls.borrow(), [5, 2, 3, 1, 2, 1, 1]);
    }
}
