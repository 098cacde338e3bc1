//! Downloads a file into the cache. hf-hub's own download is not used: it makes paths of a server's headers,
//! appends to a part whatever a server sends, waits without end, and keeps to itself what the Hub says of an
//! error. Names and locks in the cache are those of huggingface_hub.

use std::fs::{self, File as DiskFile, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use clip_wasm::error::{Error, ErrorKind, Result};
use hf_hub::Repo;
use indicatif::ProgressBar;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};

use super::listing::File;
use super::lock::lock;
use super::{Found, Hub, repo};
use crate::{progress, web};

/// How often a file is asked for, if the connection ends.
const ATTEMPTS: u32 = 5;
/// Before the second attempt; twice as long before each further one.
const PAUSE: Duration = Duration::from_millis(300);
const CHUNK_BYTES: usize = 1 << 16;
/// What a path may have in an address.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

impl Hub {
    /// The path of a file in the cache, after downloading it if it is not there.
    ///
    /// # Errors
    /// Those of the Hub; `corrupt_model` if the file is not what the Hub says it is; `io`.
    pub fn fetch(&self, found: &Found, file: &File) -> Result<PathBuf> {
        let Found { repository, refusal, .. } = found;
        let repo = repo(&repository.name, &repository.commit);
        let cached = self.cache.repo(repo.clone());
        let pointer = cached.pointer_path(&repository.commit).join(&file.path);
        if pointer.is_file() {
            return Ok(pointer);
        }
        if let Some(refusal) = refusal {
            let message = format!("{refusal}; {} of {} is not stored", file.path, repository.name);
            return Err(Error::new(ErrorKind::Network, message));
        }
        let blob = file.blob.as_ref().map_or(pointer.clone(), |blob| cached.blob_path(blob));
        for folder in [&blob, &pointer].into_iter().filter_map(|path| path.parent()) {
            fs::create_dir_all(folder)?;
        }
        let name = blob.file_name().unwrap_or_default();
        let locks = self.cache.path().join(".locks").join(repo.folder_name());
        let _lock = lock(&locks.join(name).with_added_extension("lock"), &file.path)?;
        if pointer.is_file() {
            return Ok(pointer); // by another process, which may be reading it already
        }
        if !blob.is_file() {
            let partial = blob.with_added_extension("incomplete");
            self.download(&repo, file, &partial)?;
            fs::rename(&partial, &blob)?;
        }
        link(&blob, &pointer)?;
        Ok(pointer)
    }

    /// Downloads what `partial` lacks of a file. It stays if the connection ends, for the next time.
    fn download(&self, repo: &Repo, file: &File, partial: &Path) -> Result<()> {
        let path: Vec<_> = file
            .path
            .split('/')
            .map(|part| utf8_percent_encode(part, ENCODED).to_string())
            .collect();
        let (revision, path) = (repo.url_revision(), path.join("/"));
        let url = format!("{}/{}/resolve/{revision}/{path}", self.endpoint(), repo.url());
        let mut options = OpenOptions::new();
        let mut out = options.read(true).append(true).create(true).open(partial)?;
        let bar = progress::bytes(&file.path);
        if file.sha256.is_some() {
            let size = file.size.map_or(String::new(), |size| format!(" ({size} bytes)"));
            eprintln!("downloading {}/{}{size}", repo.url(), file.path);
        }
        let mut attempt = 1;
        while let Err(error) = self.continue_download(&url, &repo.url(), file, &mut out, &bar) {
            if error.kind() != ErrorKind::Network || attempt == ATTEMPTS {
                // An answer that is no file leaves nothing to continue.
                if out.metadata()?.len() == 0 {
                    fs::remove_file(partial)?;
                }
                return Err(error);
            }
            thread::sleep(PAUSE * 2_u32.pow(attempt - 1));
            attempt += 1;
        }
        bar.finish_and_clear();
        verify(file, &mut out).inspect_err(|_| drop(fs::remove_file(partial)))?;
        Ok(out.sync_all()?)
    }

    fn continue_download(
        &self,
        url: &str,
        repository: &str,
        file: &File,
        out: &mut DiskFile,
        bar: &ProgressBar,
    ) -> Result<()> {
        let mut stored = out.metadata()?.len();
        if file.size.is_none_or(|size| stored > size) {
            out.set_len(0)?;
            stored = 0;
        }
        if file.size == Some(stored) {
            return Ok(());
        }
        let mut request = self.agent.get(url);
        if let Some(token) = &self.settings.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if stored > 0 {
            request = request.header("range", format!("bytes={stored}-"));
        }
        let response = web::call(request, url)?;
        match response.status().as_u16() {
            206 if stored > 0 => {
                let range = response.headers().get("content-range");
                let range = range.and_then(|range| range.to_str().ok()).unwrap_or_default();
                if !range.starts_with(&format!("bytes {stored}-")) {
                    out.set_len(0)?;
                    return Err(web::interrupted(url, stored, &"it goes on with another part"));
                }
            }
            200 => {
                out.set_len(0)?;
                stored = 0;
            }
            416 => {
                out.set_len(0)?;
                return Err(web::interrupted(url, stored, &"it does not go on"));
            }
            _ => return Err(self.refusal(&response, url, repository)),
        }
        let body = response.into_body();
        let size = file.size.or(body.content_length());
        bar.set_length(size.unwrap_or(0));
        // One byte more than there are shows that there are too many.
        let most = size.map_or(u64::MAX, |size| (size - stored).saturating_add(1));
        let mut reader = body.into_reader().take(most);
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            bar.set_position(stored);
            let read = match reader.read(&mut chunk) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) => return Err(web::interrupted(url, stored, &error)),
            };
            out.write_all(&chunk[..read])?;
            stored += read as u64;
        }
        match size {
            Some(size) if stored < size => {
                Err(web::interrupted(url, stored, &format!("of {size}")))
            }
            Some(size) if stored > size => {
                out.set_len(0)?;
                let message = format!("{url} has more than the {size} bytes that the Hub tells");
                Err(Error::new(ErrorKind::CorruptModel, message))
            }
            _ => Ok(()),
        }
    }
}

/// Compares a file with the hash that the Hub tells of it.
fn verify(file: &File, stored: &mut DiskFile) -> Result<()> {
    let Some(expected) = &file.sha256 else { return Ok(()) };
    stored.seek(SeekFrom::Start(0))?;
    let mut hash = Sha256::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match stored.read(&mut chunk)? {
            0 => break,
            read => hash.update(&chunk[..read]),
        }
    }
    let found: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if found == *expected {
        return Ok(());
    }
    let message = format!(
        "{} is damaged: its SHA-256 is {found} where {expected} is expected; load it again",
        file.path
    );
    Err(Error::new(ErrorKind::CorruptModel, message))
}

/// Lets the snapshot's path lead to the blob.
#[cfg(unix)]
fn link(blob: &Path, pointer: &Path) -> Result<()> {
    if blob == pointer {
        return Ok(());
    }
    // From snapshots/COMMIT/PATH to blobs/HASH, so that the cache can be moved.
    let folder = blob.parent().and_then(Path::parent).unwrap_or(blob);
    let (Ok(from), Ok(to)) = (pointer.strip_prefix(folder), blob.strip_prefix(folder)) else {
        return Ok(std::os::unix::fs::symlink(blob, pointer)?);
    };
    let up: PathBuf = from.components().skip(1).map(|_| "..").collect();
    if pointer.is_symlink() {
        fs::remove_file(pointer)?; // to a blob that was deleted
    }
    Ok(std::os::unix::fs::symlink(up.join(to), pointer)?)
}

/// Links take a privilege on Windows; there the file itself is in the snapshot.
#[cfg(not(unix))]
fn link(blob: &Path, pointer: &Path) -> Result<()> {
    if blob == pointer { Ok(()) } else { Ok(fs::rename(blob, pointer)?) }
}
