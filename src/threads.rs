//! A pool of threads that split one piece of work.
//!
//! A tower's products follow one another within microseconds. So a waiting thread spins first and sleeps
//! only after a while, and takes no lock while it spins. Parts that a paused thread has not
//! started are done by the others; only its current part is waited for.

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

/// How often a waiting thread checks for work before it sleeps: about a millisecond, longer than a tower's
/// pause between two products. A processor's own instruction for such loops takes some forty times as long as wasm's,
/// which is none.
const SPINS: u32 = if cfg!(target_arch = "wasm32") { 1_000_000 } else { 25_000 };

/// How long the caller sleeps between checks, after spinning that long for threads that the system has
/// paused.
const NAP: Duration = Duration::from_micros(100);

thread_local! {
    /// Whether this thread is inside [`Pool::alone`].
    static ALONE: Cell<bool> = const { Cell::new(false) };
}

/// Work in the caller's stack frame. [`Pool::run`] returns only after every thread that entered has left.
#[derive(Clone, Copy)]
struct Job {
    work: *const (dyn Fn(usize) + Sync),
    next: *const AtomicUsize,
    parts: usize,
}

/// Threads that wait for work. [`POOL`] is the only pool.
pub struct Pool {
    /// Locked by the one caller whose work is being shared.
    caller: Mutex<()>,
    /// Written by that caller while the pool is closed and no thread is inside.
    job: UnsafeCell<Option<Job>>,
    /// The number of the job that threads may enter, or [`CLOSED`].
    open: AtomicU32,
    /// Increases with every job; idle threads watch it.
    jobs: AtomicU32,
    /// Number of threads that have entered, or are about to check whether they may.
    inside: AtomicUsize,
    asleep: Mutex<usize>,
    awake: Condvar,
    threads: AtomicUsize,
    /// What the work panicked with in one of the threads, for the caller.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

/// No job has this number.
const CLOSED: u32 = 0;

// SAFETY: a thread reads the job only after it has counted itself in and then found the job open. The job
// is written only while it is closed and no thread is counted. Every access to both numbers is sequentially
// consistent, so either the thread finds it closed, or the caller finds the thread counted.
unsafe impl Sync for Pool {}

/// The threads that have joined: see [`Pool::join`].
pub static POOL: Pool = Pool::new();

#[cfg_attr(
    all(target_arch = "wasm32", not(target_feature = "atomics")),
    allow(dead_code, reason = "without them nobody joins")
)]
impl Pool {
    const fn new() -> Self {
        Self {
            caller: Mutex::new(()),
            job: UnsafeCell::new(None),
            open: AtomicU32::new(CLOSED),
            jobs: AtomicU32::new(CLOSED),
            inside: AtomicUsize::new(0),
            asleep: Mutex::new(0),
            awake: Condvar::new(),
            threads: AtomicUsize::new(0),
            panic: Mutex::new(None),
        }
    }

    /// Number of threads that share the work, including the caller's.
    pub fn threads(&self) -> usize {
        if ALONE.get() { 1 } else { self.threads.load(SeqCst) + 1 }
    }

    /// Calls `work`, all of whose work this thread does alone.
    pub fn alone<T>(&self, work: impl FnOnce() -> T) -> T {
        struct Again(bool);
        impl Drop for Again {
            fn drop(&mut self) {
                ALONE.set(self.0);
            }
        }
        let _again = Again(ALONE.replace(true));
        work()
    }

    /// Calls `work` once with each number below `parts`, on whatever threads are free, and returns when all
    /// calls have returned.
    ///
    /// # Panics
    /// If the work panics, in any thread.
    pub fn run(&self, parts: usize, work: &(dyn Fn(usize) + Sync)) {
        let shared = parts > 1 && self.threads() > 1;
        let Some(_caller) = shared.then(|| self.become_caller()).flatten() else {
            (0..parts).for_each(work);
            return;
        };
        *lock(&self.panic) = None; // of an earlier caller that has panicked itself
        let next = AtomicUsize::new(0);
        // SAFETY: only the lifetime changes. The job is closed below, and no thread is inside it when this
        // function returns.
        let work: *const (dyn Fn(usize) + Sync) = unsafe { std::mem::transmute(work) };
        let job = Job { work, next: &next, parts };
        // SAFETY: the pool is closed and no thread is inside: the last caller made sure of that.
        unsafe { *self.job.get() = Some(job) };
        let number = match self.jobs.load(SeqCst).wrapping_add(1) {
            CLOSED => CLOSED + 1,
            number => number,
        };
        self.open.store(number, SeqCst);
        self.jobs.store(number, SeqCst);
        {
            let _closed_when_left = Opened(self);
            self.wake();
            job.work_off();
        }
        if let Some(panic) = lock(&self.panic).take() {
            resume_unwind(panic);
        }
    }

    /// The right to share work; `None` if the pool is busy with another caller's work, so that this thread has to do its
    /// work alone.
    fn become_caller(&self) -> Option<MutexGuard<'_, ()>> {
        match self.caller.try_lock() {
            Ok(guard) => Some(guard),
            // A caller whose work has panicked has closed the pool all the same.
            Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Calls `work` once with each item, on whatever threads are free, and returns when all calls have
    /// returned.
    pub fn each<T: Send>(&self, items: impl Iterator<Item = T> + Send, work: impl Fn(T) + Sync) {
        if self.threads() == 1 {
            items.for_each(work);
            return;
        }
        let items = Mutex::new(items);
        let next = || lock(&items).next();
        self.run(self.threads(), &|_| {
            while let Some(item) = next() {
                work(item);
            }
        });
    }

    /// Makes this thread part of the pool: from now on it works for the pool and never returns.
    pub fn join(&self) -> ! {
        self.threads.fetch_add(1, SeqCst);
        let mut seen = CLOSED;
        loop {
            seen = self.wait(seen);
            self.inside.fetch_add(1, SeqCst);
            if self.open.load(SeqCst) != CLOSED {
                // SAFETY: counted in, and then found open: the caller waits until this thread leaves.
                if let Some(job) = unsafe { *self.job.get() } {
                    // The caller waits for this thread, and gets the panic.
                    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| job.work_off())) {
                        *lock(&self.panic) = Some(panic);
                    }
                }
            }
            self.inside.fetch_sub(1, SeqCst);
        }
    }

    /// Waits for a job with a number other than `seen`, and returns that number.
    fn wait(&self, seen: u32) -> u32 {
        for _ in 0..SPINS {
            let number = self.jobs.load(SeqCst);
            if number != seen {
                return number;
            }
            std::hint::spin_loop();
        }
        let mut asleep = lock(&self.asleep);
        *asleep += 1;
        while self.jobs.load(SeqCst) == seen {
            asleep = self.awake.wait(asleep).unwrap_or_else(PoisonError::into_inner);
        }
        *asleep -= 1;
        self.jobs.load(SeqCst)
    }

    fn wake(&self) {
        // A thread that is about to sleep checks for work under this lock, so none misses the call.
        if *lock(&self.asleep) > 0 {
            self.awake.notify_all();
        }
    }
}

/// Lets this many threads share the work on an input, the caller's included, from now on and for all encoders of this
/// program. Those that exist already stay. Vectors are the same for any number of threads, to the last bit.
///
/// Only one caller's work is shared at a time: who embeds from several threads of its own needs no others.
///
/// # Errors
/// `io` if the system does not start a thread.
#[cfg(not(target_arch = "wasm32"))]
pub fn use_threads(threads: usize) -> crate::error::Result<()> {
    static STARTED: Mutex<usize> = Mutex::new(1);
    let mut started = lock(&STARTED);
    while *started < threads {
        std::thread::Builder::new().name("clip-wasm".into()).spawn(|| POOL.join())?;
        *started += 1;
    }
    Ok(())
}

/// An open job. Dropping it, also during a panic, closes the job and waits until no thread is inside.
struct Opened<'a>(&'a Pool);

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        self.0.open.store(CLOSED, SeqCst);
        let mut spins = 0;
        while self.0.inside.load(SeqCst) > 0 {
            if spins < SPINS {
                spins += 1;
                std::hint::spin_loop();
            } else {
                std::thread::sleep(NAP);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Job {
    /// Takes parts until none are left.
    fn work_off(&self) {
        loop {
            // SAFETY: the stack frame these point into waits for every thread in here.
            let part = unsafe { &*self.next }.fetch_add(1, SeqCst);
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
                done[part].fetch_add(1, SeqCst);
            });
            assert!(done.iter().all(|count| count.load(SeqCst) == 1), "{parts} parts");
            let mut halves = vec![0; parts];
            OURS.each(halves.iter_mut().enumerate(), |(i, half)| *half = i / 2);
            assert!(halves.iter().enumerate().all(|(i, half)| *half == i / 2), "{parts} items");
            if parts % 50 == 0 {
                // Long enough for the threads to fall asleep.
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        }
    }

    #[test]
    fn a_panic_of_the_work_is_the_callers_and_the_pool_goes_on() {
        static OURS: Pool = Pool::new();
        std::thread::spawn(|| OURS.join());
        while OURS.threads() < 2 {
            std::thread::yield_now();
        }
        let main = std::thread::current().id();
        for in_the_caller in [false, true, false, true] {
            let panicked = catch_unwind(|| {
                let met = std::sync::Barrier::new(2);
                OURS.run(2, &|_| {
                    met.wait(); // each thread has a part
                    let is_caller = std::thread::current().id() == main;
                    assert_ne!(is_caller, in_the_caller, "for a test");
                });
            });
            assert!(panicked.is_err());
            let met = std::sync::Barrier::new(2);
            OURS.run(2, &|_| {
                met.wait(); // the pool shares its work as before
            });
        }
    }
}
