//! Checkpoints written by `torch.save` since torch 1.6: a zip archive with a pickle, `data.pkl`, and raw
//! storages, `data/0`, `data/1` and so on, all uncompressed.
//!
//! The archive's directory is at its end, and the headers of its entries have no sizes. But the pickle
//! comes first and states the size of each storage, and torch lays the storages out by a rule, which its
//! own option
//! [`calculate_storage_offsets`](https://github.com/pytorch/pytorch/blob/main/torch/utils/serialization/config.py)
//! relies on. So the positions of all storages are known as soon as the first one's header has arrived, and
//! the file can be streamed from front to back, or only in parts. Each entry's header is checked before its
//! bytes are used.

mod pickle;

use std::collections::HashMap;
use std::fmt::Display;

use crate::error::{Error, ErrorKind, Result};
use crate::format::torch::pickle::{Contents, Machine};
use crate::format::weights::{Check, Tensor};
use crate::limits::{Limit, Limits};

/// The first bytes of every zip archive: the signature of an entry's header.
pub const MAGIC: &[u8] = b"PK\x03\x04";
/// The signature after an entry whose header has no sizes.
const DESCRIPTOR: &[u8] = b"PK\x07\x08";
/// The signature after the last entry: the directory.
const DIRECTORY: &[u8] = b"PK\x01\x02";
/// Size of an entry's header, without its name and extra field.
const HEADER_BYTES: u64 = 30;
/// From this value on, sizes and positions are written in 64 bits, in the extra field.
const ZIP64: u64 = u32::MAX as u64;
/// Alignment of storages if the archive does not state one, in bytes.
const ALIGNMENT: u64 = 64;
const MOST_ALIGNMENT: u64 = 1 << 20;
/// The largest entry between the pickle and the storages, in bytes.
const MOST_RECORD_BYTES: usize = 64;

/// The header: what the pickle describes, and where the storages are.
#[derive(Debug)]
pub struct Header {
    contents: Contents,
    data_start: u64,
    data_end: u64,
    /// Where each storage starts, in bytes from the start of the file.
    starts: HashMap<u32, u64>,
    checks: Vec<Check>,
}

impl Header {
    /// The tensor called `name`.
    pub fn get(&self, name: &str) -> Option<Tensor<'_>> {
        let tensor = self.contents.tensors.get(name)?;
        let start = self.starts[&tensor.storage];
        Some(Tensor {
            dtype: tensor.dtype,
            shape: &tensor.shape,
            row_major: tensor.row_major,
            bytes: start + tensor.bytes.start..start + tensor.bytes.end,
        })
    }

    /// The start of the first storage's entry, in bytes.
    pub fn data_start(&self) -> u64 {
        self.data_start
    }

    /// The end of the last storage, in bytes. The archive's directory and a few small entries follow.
    pub fn data_end(&self) -> u64 {
        self.data_end
    }

    /// The headers of the storages' entries, in file order.
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }
}

/// Reads the header of an archive while its first bytes arrive.
pub struct Reader {
    limits: Limits,
    machine: Machine,
    /// The first entry, which holds the pickle.
    first: Option<Entry>,
    contents: Option<Contents>,
    /// Where the next entry starts, after the pickle has been read.
    position: u64,
    /// Whether the format version sorts storages by number; otherwise they are sorted by name.
    by_number: bool,
    alignment: u64,
}

impl Reader {
    /// A reader for an archive of which no bytes have arrived yet.
    pub fn new(limits: &Limits) -> Self {
        Self {
            limits: *limits,
            machine: Machine::new(limits),
            first: None,
            contents: None,
            position: 0,
            by_number: false,
            alignment: ALIGNMENT,
        }
    }

    /// Takes all bytes of the file that have arrived so far: `None` if it needs more of them.
    ///
    /// # Errors
    /// `unsupported_model` for an archive that is not a plain checkpoint, `malformed_model`,
    /// `limit_exceeded`.
    pub fn read(&mut self, prefix: &[u8]) -> Result<Option<Header>> {
        if self.first.is_none() {
            self.first = Entry::parse(prefix, 0)?;
        }
        let Some(first) = &self.first else { return Ok(None) };
        let Some(archive) = first.name.strip_suffix("/data.pkl") else {
            return Err(other_archive(&first.name));
        };
        first.expect_stored()?;
        let archive = format!("{archive}/");
        if self.contents.is_none() {
            let Some(pickle) = prefix.get(first.data as usize..) else { return Ok(None) };
            self.contents = self.machine.run(pickle)?;
            let Some(contents) = &self.contents else { return Ok(None) };
            self.position = first.data + contents.size as u64;
            let size = contents.size;
            if first.size.is_some_and(|told| told != size as u64) {
                return Err(damaged("its pickle ends early"));
            }
        }
        let Some(contents) = &self.contents else { return Ok(None) };
        if self.position == first.data + contents.size as u64 {
            let pickle = &prefix[first.data as usize..self.position as usize];
            match first.check_descriptor(pickle, &prefix[self.position as usize..])? {
                None => return Ok(None),
                Some(length) => self.position += length,
            }
        }
        loop {
            self.limits.check(Limit::HeaderBytes, self.position)?;
            let rest = &prefix[self.position as usize..];
            if rest.len() >= DIRECTORY.len() && rest.starts_with(DIRECTORY) {
                return Err(damaged("its storages are missing"));
            }
            let Some(entry) = Entry::parse(rest, self.position)? else { return Ok(None) };
            let Some(name) = entry.name.strip_prefix(&archive) else {
                return Err(other_archive(&entry.name));
            };
            if name.starts_with("data/") {
                break;
            }
            let from = entry.data as usize;
            let Some(rest) = prefix.get(from..) else { return Ok(None) };
            let Some((record, length)) = entry.record(rest)? else { return Ok(None) };
            match name {
                ".format_version" => self.by_number = record != b"0",
                ".storage_alignment" => self.alignment = alignment(record)?,
                "byteorder" if record != b"little" => {
                    let message =
                        "this checkpoint was saved on a big-endian machine; save it as safetensors";
                    return Err(Error::new(ErrorKind::UnsupportedModel, message));
                }
                "byteorder" | "version" | ".data/serialization_id" => {}
                _ => return Err(other_archive(&entry.name)),
            }
            self.position = entry.data + length;
        }
        self.lay_out(&archive).map(Some)
    }

    /// Computes the positions of the storages by torch's rule: `PyTorchStreamWriter::writeRecord` and
    /// `getPadding` in its
    /// [inline_container.cc](https://github.com/pytorch/pytorch/blob/main/caffe2/serialize/inline_container.cc).
    fn lay_out(&mut self, archive: &str) -> Result<Header> {
        let contents = self.contents.take().expect("read before the storages");
        let mut keys: Vec<u32> = contents.storages.keys().copied().collect();
        if !self.by_number {
            keys.sort_by_key(u32::to_string);
        }
        let mut position = self.position;
        let mut header = Header {
            contents,
            data_start: position,
            data_end: position,
            starts: HashMap::new(),
            checks: Vec::new(),
        };
        for key in keys {
            let name = format!("{archive}data/{key}");
            let size = header.contents.storages[&key].size;
            // An extra field of at least four bytes, which contains the padding. In large archives another
            // one precedes it, for numbers that do not fit in 32 bits.
            let long = size >= ZIP64 || position >= ZIP64;
            let wide = 4 * u64::from(long)
                + 16 * u64::from(size >= ZIP64)
                + 8 * u64::from(position >= ZIP64);
            let start = (position + HEADER_BYTES + name.len() as u64 + wide + 4)
                .next_multiple_of(self.alignment);
            let descriptor = match (size, long) {
                (0, _) => 0,
                (_, false) => 16,
                (_, true) => 24,
            };
            // Invalid sizes could add up to more than a file can hold.
            let end = start.checked_add(size).filter(|end| *end < i64::MAX as u64);
            let end = end.ok_or_else(|| damaged("its storages are larger than any file"))?;
            header.starts.insert(key, start);
            header.checks.push(Check { bytes: position..start, name });
            header.data_end = end;
            position = end + descriptor;
        }
        Ok(header)
    }
}

/// The header of an archive's entry.
struct Entry {
    name: String,
    /// Where its data starts, counted from the start of the file.
    data: u64,
    /// Size of its data in bytes, if the header states it; otherwise it stands after the data.
    size: Option<u64>,
    /// Whether its data is stored as it is, neither compressed nor encrypted.
    stored: bool,
}

impl Entry {
    /// `at` is the position of `bytes` in the file. `None` if they end before the entry's header does.
    fn parse(bytes: &[u8], at: u64) -> Result<Option<Self>> {
        let Some(header) = bytes.first_chunk::<{ HEADER_BYTES as usize }>() else {
            return Ok(None);
        };
        let short = |place: usize| u16::from_le_bytes([header[place], header[place + 1]]);
        let (flags, method) = (short(6), short(8));
        if !header.starts_with(MAGIC) {
            return Err(unknown_layout("an entry is not at its expected position"));
        }
        let length = HEADER_BYTES as usize + usize::from(short(26)) + usize::from(short(28));
        let Some(name) = bytes.get(..length) else { return Ok(None) };
        let name = &name[HEADER_BYTES as usize..][..usize::from(short(26))];
        let name = std::str::from_utf8(name).map_err(|_| damaged("an entry's name is not text"))?;
        let size = u32::from_le_bytes([header[22], header[23], header[24], header[25]]);
        let follows = flags & 8 != 0;
        let size = (!follows).then_some(u64::from(size));
        let stored = method == 0 && flags & 1 == 0;
        Ok(Some(Self { name: name.into(), data: at + length as u64, size, stored }))
    }

    fn expect_stored(&self) -> Result<()> {
        if self.stored {
            Ok(())
        } else {
            Err(unknown_layout(format!("entry {:?} is compressed", self.name)))
        }
    }

    /// The data of the small entry at the start of `rest`, and its size including the descriptor after it.
    fn record<'a>(&self, rest: &'a [u8]) -> Result<Option<(&'a [u8], u64)>> {
        self.expect_stored()?;
        let too_long = || unknown_layout(format!("entry {:?} is too large", self.name));
        let size = match self.size {
            Some(size) => usize::try_from(size).unwrap_or(usize::MAX),
            None => {
                let found = rest.windows(DESCRIPTOR.len()).position(|four| four == DESCRIPTOR);
                match found {
                    Some(size) => size,
                    None if rest.len() > MOST_RECORD_BYTES + DESCRIPTOR.len() => {
                        return Err(too_long());
                    }
                    None => return Ok(None),
                }
            }
        };
        if size > MOST_RECORD_BYTES {
            return Err(too_long());
        }
        let Some((record, rest)) = rest.split_at_checked(size) else { return Ok(None) };
        let length = self.check_descriptor(record, rest)?;
        Ok(length.map(|length| (record, size as u64 + length)))
    }

    /// Checks an entry's data against the descriptor after it, and returns the descriptor's size: `None` if
    /// it has not arrived yet.
    fn check_descriptor(&self, data: &[u8], rest: &[u8]) -> Result<Option<u64>> {
        if self.size.is_some() {
            return Ok(Some(0));
        }
        let Some(descriptor) = rest.first_chunk::<16>() else { return Ok(None) };
        let (checksum, size) = (crc32fast::hash(data).to_le_bytes(), data.len() as u32);
        let size = size.to_le_bytes();
        let want = [DESCRIPTOR, &checksum, &size, &size].concat();
        if descriptor[..] != want {
            return Err(damaged(format!("entry {:?} does not match its checksum", self.name)));
        }
        Ok(Some(16))
    }
}

/// Checks that an entry's header, given all bytes before the entry's data, has the expected name.
///
/// # Errors
/// `unsupported_model` if it does not.
pub fn check_entry(bytes: &[u8], name: &str) -> Result<()> {
    match Entry::parse(bytes, 0)? {
        Some(entry) if entry.name == name && entry.data == bytes.len() as u64 => {
            entry.expect_stored()
        }
        _ => Err(unknown_layout(format!("entry {name:?} is not at its expected position"))),
    }
}

fn alignment(record: &[u8]) -> Result<u64> {
    let text = std::str::from_utf8(record).ok();
    let alignment = text.and_then(|text| text.parse().ok());
    let alignment = alignment.filter(|alignment| (1..=MOST_ALIGNMENT).contains(alignment));
    alignment.ok_or_else(|| unknown_layout("its alignment is not supported"))
}

/// The error for an archive with an entry that torch.save does not write, or not at that position.
fn other_archive(entry: &str) -> Error {
    let name = entry.split_once('/').map_or(entry, |(_, name)| name);
    if name.starts_with("code/") || name.starts_with("constants") || name.starts_with("data/") {
        return torch_script();
    }
    let message = "this is a zip archive, but not a checkpoint written by torch.save: use the model's model.safetensors or pytorch_model.bin";
    Error::new(ErrorKind::UnsupportedModel, message)
}

/// The error for a checkpoint that may be valid, but is not laid out like torch's own.
fn unknown_layout(what: impl Display) -> Error {
    let message = format!(
        "this checkpoint is not laid out as torch.save writes it: {what}; save it again with torch.save, or as safetensors"
    );
    Error::new(ErrorKind::UnsupportedModel, message)
}

fn torch_script() -> Error {
    let message = "this is a TorchScript archive, a program with its weights, like OpenAI's .pt files: use the model.safetensors or pytorch_model.bin of the same model";
    Error::new(ErrorKind::UnsupportedModel, message)
}

fn damaged(what: impl Display) -> Error {
    let message = format!("this torch checkpoint is damaged: {what}; download it again");
    Error::new(ErrorKind::MalformedModel, message)
}
