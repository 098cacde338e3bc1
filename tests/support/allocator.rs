//! An allocator that counts the memory of each thread and enforces a budget.
//!
//! A test binary installs it with `#[global_allocator]`.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Smaller buffers are not refused, whatever the budget: an allocator without memory for large buffers
/// still has some for these, and WebAssembly memory grows by pages of this size.
pub const SMALL: usize = 64 << 10;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static MOST: Cell<usize> = const { Cell::new(0) };
    static BUDGET: Cell<usize> = const { Cell::new(usize::MAX) };
    /// The bytes that would have been held after the first refused allocation.
    static REFUSED: Cell<Option<usize>> = const { Cell::new(None) };
}

/// The system's allocator, with a count and a budget per thread.
pub struct Budgeted;

/// Bytes that this thread has allocated and not freed.
pub fn held() -> usize {
    HELD.get()
}

/// Runs `work` with a budget of `budget` bytes beyond those that this thread already holds. Returns its
/// result and the most memory it took.
pub fn within<T>(budget: usize, work: impl FnOnce() -> T) -> (T, usize) {
    let (result, most, _) = within_or_asked(budget, work);
    (result, most)
}

/// The same; also returns the budget that the first refused allocation would have needed.
pub fn within_or_asked<T>(budget: usize, work: impl FnOnce() -> T) -> (T, usize, Option<usize>) {
    let before = HELD.get();
    MOST.set(before);
    REFUSED.set(None);
    BUDGET.set(before.saturating_add(budget));
    let result = work();
    BUDGET.set(usize::MAX);
    (result, MOST.get() - before, REFUSED.get().map(|refused| refused - before))
}

fn may_have(more: usize) -> bool {
    let held = HELD.get().saturating_add(more);
    let may = more < SMALL || held <= BUDGET.get();
    if !may && REFUSED.get().is_none() {
        REFUSED.set(Some(held));
    }
    may
}

fn taken(bytes: usize) {
    HELD.set(HELD.get() + bytes);
    MOST.set(MOST.get().max(HELD.get()));
}

/// One thread may free what another has allocated.
fn given_back(bytes: usize) {
    HELD.set(HELD.get().saturating_sub(bytes));
}

// SAFETY: all calls go to the system's allocator; sizes are only counted, and null is how an allocator
// reports that it has no memory.
#[allow(unsafe_code, reason = "an allocator is unsafe by its nature")]
unsafe impl GlobalAlloc for Budgeted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !may_have(layout.size()) {
            return std::ptr::null_mut();
        }
        taken(layout.size());
        // SAFETY: the caller's guarantee is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !may_have(layout.size()) {
            return std::ptr::null_mut();
        }
        taken(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        given_back(layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    /// Counted as if done in place, which WebAssembly's allocator does if it can.
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if size > layout.size() && !may_have(size - layout.size()) {
            return std::ptr::null_mut();
        }
        given_back(layout.size());
        taken(size);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
