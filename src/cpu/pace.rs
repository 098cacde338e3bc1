//! Decides whether a tower's work is shared among threads, by measuring.
//!
//! On a machine that is busy with other things, threads are paused in the middle of their work, and waiting for them
//! can take more time than they save.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use web_time::Instant;

use crate::threads::POOL;

/// The weight of a call in the mean of recent ones.
const WEIGHT: f32 = 0.25;
/// So many calls at first replace the mean, as they run code that the browser has not optimised yet.
const FIRST_CALLS: u32 = 4;
/// Calls until the other way is tried again, which costs time if it is the slower one: at first, and at most.
const SOON: u32 = 8;
const LATE: u32 = 256;

/// What is known of calls, by the binary logarithm of their rows.
#[derive(Default)]
pub struct Pace(Mutex<BTreeMap<u32, Known>>);

/// Seconds for a row, as the mean of recent calls; 0 if there were none.
#[derive(Default)]
struct Known {
    shared: f32,
    alone: f32,
    calls: u32,
    /// Calls until the other way is tried.
    left: u32,
    /// As many as `left` was at first.
    wait: u32,
}

impl Pace {
    /// Runs `work` on `rows` rows, on all threads or on this one, whichever took less time lately.
    pub fn run<T>(&self, rows: usize, work: impl FnOnce() -> T) -> T {
        if POOL.threads() == 1 {
            return work();
        }
        let size = rows.max(1).ilog2();
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let shares = known().entry(size).or_default().next_is_shared();
        let since = Instant::now();
        let result = if shares { work() } else { POOL.alone(work) };
        known().entry(size).or_default().learn(shares, since.elapsed(), rows);
        result
    }
}

impl Known {
    /// Whether sharing has been the faster way.
    fn is_better_shared(&self) -> bool {
        self.alone == 0.0 || (self.shared != 0.0 && self.shared <= self.alone)
    }

    fn next_is_shared(&self) -> bool {
        let tries_the_other = self.calls >= FIRST_CALLS && self.left == 0;
        self.is_better_shared() != tries_the_other
    }

    fn learn(&mut self, shared: bool, time: Duration, rows: usize) {
        let was_better_shared = self.is_better_shared();
        let is_trial = shared != was_better_shared;
        let pace = time.as_secs_f32() / rows.max(1) as f32;
        let mean = if shared { &mut self.shared } else { &mut self.alone };
        // What is known of the other way is old.
        let replaces = is_trial || self.calls < FIRST_CALLS;
        *mean = if replaces { pace } else { *mean + WEIGHT * (pace - *mean) };
        self.calls = self.calls.saturating_add(1);
        if self.is_better_shared() != was_better_shared {
            self.wait = SOON;
            self.left = SOON;
        } else if is_trial {
            self.wait = (2 * self.wait).clamp(SOON, LATE);
            self.left = self.wait;
        } else {
            self.left = self.left.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    /// Calls on a machine where they take so many milliseconds each way; how many of them were shared.
    fn calls(known: &mut Known, count: usize, shared: u64, alone: u64) -> usize {
        let mut how_many_shared = 0;
        for _ in 0..count {
            let shares = known.next_is_shared();
            let milliseconds = if shares { shared } else { alone };
            known.learn(shares, Duration::from_millis(milliseconds), 50);
            how_many_shared += usize::from(shares);
        }
        how_many_shared
    }

    #[test]
    fn the_faster_way_is_taken_and_found_again_when_it_changes() {
        let mut known = Known::default();
        assert_eq!(calls(&mut known, 4, 80, 130), 4, "nothing is known at first");
        assert!(calls(&mut known, 200, 80, 130) > 190, "idle");
        assert!(calls(&mut known, 200, 300, 130) < 15, "busy");
        assert!(calls(&mut known, 400, 80, 130) > 250, "idle again");
        assert!(calls(&mut known, 400, 100, 100) < 400, "the other way is tried now and then");
    }

    #[test]
    fn one_slow_call_changes_nothing() {
        let mut known = Known::default();
        calls(&mut known, 20, 10, 17);
        calls(&mut known, 1, 27, 17);
        assert!(known.next_is_shared());
        assert!(calls(&mut known, 16, 10, 17) >= 15);
    }
}
