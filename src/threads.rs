//! A pool of threads that split one piece of work.
//!
//! The products of a tower follow one another within microseconds, so whoever waits for the next one
//! spins first and sleeps only after a while. A thread that is late, because the system runs something else, is not
//! waited for: what it has not begun, the others do.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// How often a thread that waits looks again before it sleeps.
const SPINS: u32 = 20_000;

/// A job in the caller's stack frame, which [`Pool::run`] does not leave before the last thread that
/// entered the job has left it.
#[derive(Clone, Copy)]
struct Job {
    work: *const (dyn Fn(usize) + Sync),
    next: *const AtomicUsize,
    parts: usize,
}

// SAFETY: the pointers are to values that are `Sync`, and outlive every use: see `Pool::run`.
unsafe impl Send for Job {}

#[derive(Default)]
struct State {
    job: Option<Job>,
    /// Threads that are at work on `job`.
    entered: usize,
}

/// Threads that wait for work. [`POOL`] is the only one.
pub struct Pool {
    state: Mutex<State>,
    /// Goes up with every job: what idle threads watch.
    jobs: AtomicU32,
    asleep: Condvar,
    left: Condvar,
    threads: AtomicUsize,
}

/// The threads that have joined: see [`Pool::join`].
pub static POOL: Pool = Pool::new();

impl Pool {
    const fn new() -> Self {
        Self {
            state: Mutex::new(State { job: None, entered: 0 }),
            jobs: AtomicU32::new(0),
            asleep: Condvar::new(),
            left: Condvar::new(),
            threads: AtomicUsize::new(0),
        }
    }

    /// Threads that share the work, the caller's own among them.
    pub fn threads(&self) -> usize {
        self.threads.load(Ordering::Relaxed) + 1
    }

    /// Calls `work` with each number below `parts`, each once, on whatever threads are free, and
    /// returns when all calls have.
    pub fn run(&self, parts: usize, work: &(dyn Fn(usize) + Sync)) {
        if parts <= 1 || self.threads() == 1 {
            (0..parts).for_each(work);
            return;
        }
        let next = AtomicUsize::new(0);
        // SAFETY: only the lifetime changes. The job is taken back below, and nobody who entered it is
        // in it any more when this function returns.
        let work: *const (dyn Fn(usize) + Sync) = unsafe { std::mem::transmute(work) };
        let job = Job { work, next: &next, parts };
        {
            let mut state = self.lock();
            state.job = Some(job);
            // Under the lock, so that nobody falls asleep between looking and waiting.
            self.jobs.fetch_add(1, Ordering::Release);
        }
        self.asleep.notify_all();
        job.work_off();
        let mut state = self.lock();
        state.job = None;
        let mut spins = 0;
        while state.entered > 0 {
            if spins < SPINS {
                spins += 1;
                drop(state);
                std::hint::spin_loop();
                state = self.lock();
            } else {
                state = self.left.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// Makes this thread one of the pool's: it works from now on, and never returns.
    pub fn join(&self) -> ! {
        self.threads.fetch_add(1, Ordering::Relaxed);
        let mut seen = 0;
        loop {
            self.wait(seen);
            seen = self.jobs.load(Ordering::Acquire);
            let job = {
                let mut state = self.lock();
                state.entered += usize::from(state.job.is_some());
                state.job
            };
            if let Some(job) = job {
                job.work_off();
                self.lock().entered -= 1;
                self.left.notify_one();
            }
        }
    }

    /// Waits until there has been a job after the `seen`th.
    fn wait(&self, seen: u32) {
        for _ in 0..SPINS {
            if self.jobs.load(Ordering::Acquire) != seen {
                return;
            }
            std::hint::spin_loop();
        }
        let mut state = self.lock();
        while self.jobs.load(Ordering::Acquire) == seen {
            state = self.asleep.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Job {
    /// Takes parts until none is left.
    fn work_off(&self) {
        loop {
            // SAFETY: the frame these point into waits for every thread in here.
            let part = unsafe { &*self.next }.fetch_add(1, Ordering::Relaxed);
            if part >= self.parts {
                return;
            }
            // SAFETY: as above.
            unsafe { (*self.work)(part) };
        }
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_done_once_by_the_time_run_returns() {
        static OURS: Pool = Pool::new();
        for _ in 0..3 {
            std::thread::spawn(|| OURS.join());
        }
        while OURS.threads() < 4 {
            std::thread::yield_now();
        }
        for parts in (0..400).chain([10_000]) {
            let done: Vec<AtomicU32> = (0..parts).map(|_| AtomicU32::new(0)).collect();
            OURS.run(parts, &|part| {
                done[part].fetch_add(1, Ordering::Relaxed);
            });
            assert!(done.iter().all(|count| count.load(Ordering::Relaxed) == 1), "{parts} parts");
            if parts % 50 == 0 {
                // Long enough for the threads to fall asleep.
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        }
    }
}
