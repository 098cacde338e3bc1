//! An allocator that counts what each thread holds, and has no more than it is told to have.
//!
//! A test binary makes it its own with `#[global_allocator]`.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Smaller buffers are given whatever the budget: an allocator that has no memory left for large ones has some for
/// these, and a WebAssembly memory grows by as much.
pub const SMALL: usize = 64 << 10;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static MOST: Cell<usize> = const { Cell::new(0) };
    static BUDGET: Cell<usize> = const { Cell::new(usize::MAX) };
    /// What there would have been held with the first buffer that was refused.
    static REFUSED: Cell<Option<usize>> = const { Cell::new(None) };
}

/// The system's allocator, with a count and a budget for each thread.
pub struct Budgeted;

/// Bytes that this thread has allocated and not freed.
pub fn held() -> usize {
    HELD.get()
}

/// What `work` gives, which may take `budget` bytes beyond those that this thread holds already, and the most that it
/// took.
pub fn within<T>(budget: usize, work: impl FnOnce() -> T) -> (T, usize) {
    let (result, most, _) = within_or_asked(budget, work);
    (result, most)
}

/// The same, and with how much more of a budget the first buffer would have been given that was refused.
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

/// What another thread has taken may be given back by this one.
fn given_back(bytes: usize) {
    HELD.set(HELD.get().saturating_sub(bytes));
}

// SAFETY: everything is the system's allocator; sizes are noted beside it, and null is what one gives that has none.
#[allow(unsafe_code, reason = "an allocator is unsafe by its nature")]
unsafe impl GlobalAlloc for Budgeted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !may_have(layout.size()) {
            return std::ptr::null_mut();
        }
        taken(layout.size());
        // SAFETY: the caller's word is passed on.
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

    /// In place, as far as the count goes: WebAssembly's allocator does so where it can.
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
