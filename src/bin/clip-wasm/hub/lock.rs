//! Locks, so that of several processes one writes a file.

use std::fs::{self, File, TryLockError};
use std::path::Path;

use clip_wasm::error::Result;

/// Waits until no other process has the lock of this path. It is given back when the value is dropped; its
/// file stays, as another process may be waiting for it.
pub fn lock(path: &Path, what: &str) -> Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let file = File::create(path)?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            eprintln!("waiting for another process, which stores {what}");
            file.lock()?;
        }
        // Some network file systems have no locks: there, two processes may do the same work.
        Ok(()) | Err(TryLockError::Error(_)) => {}
    }
    Ok(file)
}
