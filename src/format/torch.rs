//! The checkpoints of `torch.save`, since torch 1.6: a zip archive of a pickle, `data.pkl`, and of raw storages,
//! `data/0`, `data/1` and so on, none of them compressed.
//!
//! The archive's directory stands at its end, and the headers before its entries have no sizes. But the pickle comes
//! first, and tells how large each storage is; and torch lays them out by a rule, which its own option
//! [`calculate_storage_offsets`](https://github.com/pytorch/pytorch/blob/main/torch/utils/serialization/config.py)
//! relies on. So the places of all storages are known once the first one's header has come, and a stream can be read
//! from front to back, or parts of it. Whether an entry stands where it should, its header shows before its bytes are
//! believed.

mod pickle;

use std::collections::HashMap;
use std::fmt::Display;

use crate::error::{Error, ErrorKind, Result};
use crate::format::torch::pickle::{Contents, Machine};
use crate::format::weights::{Check, Tensor};
use crate::limits::{Limit, Limits};

/// What every zip archive begins with: the signature of an entry's header.
pub const MAGIC: &[u8] = b"PK\x03\x04";
/// What follows an entry whose header has no sizes.
const DESCRIPTOR: &[u8] = b"PK\x07\x08";
/// What follows the last entry: the directory.
const DIRECTORY: &[u8] = b"PK\x01\x02";
/// An entry's header, without its name and extra field.
const HEADER_BYTES: u64 = 30;
/// From here on sizes and places are written in 64 bits, in the extra field.
const ZIP64: u64 = u32::MAX as u64;
/// How storages are aligned where the archive does not say, in bytes.
const ALIGNMENT: u64 = 64;
const MOST_ALIGNMENT: u64 = 1 << 20;
/// The entries between the pickle and the storages hold no more than this, in bytes.
const MOST_RECORD_BYTES: usize = 64;

/// What stands before the storages, and where they are.
#[derive(Debug)]
pub struct Header {
    contents: Contents,
    data_start: u64,
    data_end: u64,
    /// Where each storage begins, in bytes from the start of the file.
    starts: HashMap<u32, u64>,
    checks: Vec<Check>,
}

impl Header {
    /// The tensor of that name.
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

    /// Where the first storage's entry begins, in bytes.
    pub fn data_start(&self) -> u64 {
        self.data_start
    }

    /// Where the last storage ends, in bytes. The archive's directory and a few small entries follow.
    pub fn data_end(&self) -> u64 {
        self.data_end
    }

    /// The headers of the storages' entries, in file order.
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }
}

/// Reads the header of an archive as its first bytes come.
pub struct Reader {
    limits: Limits,
    machine: Machine,
    /// The first entry, which holds the pickle.
    first: Option<Entry>,
    contents: Option<Contents>,
    /// Where the next entry begins, once the pickle is read.
    position: u64,
    /// Of the version that sorts storages by their numbers rather than their names.
    by_number: bool,
    alignment: u64,
}

impl Reader {
    /// Of an archive of which nothing has come.
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

    /// Takes the first bytes of the file, all that have come: `None` where it needs more of them.
    ///
    /// # Errors
    /// `unsupported_model` for an archive that is no plain checkpoint, `malformed_model`, `limit_exceeded`.
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
                        "this checkpoint is of a big-endian machine; save it as safetensors";
                    return Err(Error::new(ErrorKind::UnsupportedModel, message));
                }
                "byteorder" | "version" | ".data/serialization_id" => {}
                _ => return Err(other_archive(&entry.name)),
            }
            self.position = entry.data + length;
        }
        self.lay_out(&archive).map(Some)
    }

    /// Finds the storages by torch's rule: `PyTorchStreamWriter::writeRecord` and `getPadding` of its
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
            // An extra field of four bytes at least, which the padding is in, and before it in large archives one
            // for what does not go into 32 bits.
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
            // Where sizes that lie would add up to more than a file can hold.
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
    /// Where its bytes begin, from the start of the file.
    data: u64,
    /// What it holds in bytes, where that stands in the header rather than behind the entry.
    size: Option<u64>,
    /// Whether its bytes are there as they are, neither compressed nor encrypted.
    stored: bool,
}

impl Entry {
    /// `at` is where `bytes` begin in the file. `None` where they end before it does.
    fn parse(bytes: &[u8], at: u64) -> Result<Option<Self>> {
        let Some(header) = bytes.first_chunk::<{ HEADER_BYTES as usize }>() else {
            return Ok(None);
        };
        let short = |place: usize| u16::from_le_bytes([header[place], header[place + 1]]);
        let (flags, method) = (short(6), short(8));
        if !header.starts_with(MAGIC) {
            return Err(unknown_layout("an entry stands elsewhere"));
        }
        let length = HEADER_BYTES as usize + usize::from(short(26)) + usize::from(short(28));
        let Some(name) = bytes.get(..length) else { return Ok(None) };
        let name = &name[HEADER_BYTES as usize..][..usize::from(short(26))];
        let name = std::str::from_utf8(name).map_err(|_| damaged("an entry's name is no text"))?;
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

    /// The bytes of a small entry that `rest` begins with, and how many they are with what follows them.
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

    /// Holds what follows the entry's bytes to them, and tells how long it is: `None` where it has not come.
    fn check_descriptor(&self, data: &[u8], rest: &[u8]) -> Result<Option<u64>> {
        if self.size.is_some() {
            return Ok(Some(0));
        }
        let Some(descriptor) = rest.first_chunk::<16>() else { return Ok(None) };
        let (checksum, size) = (crc32fast::hash(data).to_le_bytes(), data.len() as u32);
        let size = size.to_le_bytes();
        let want = [DESCRIPTOR, &checksum, &size, &size].concat();
        if descriptor[..] != want {
            return Err(damaged(format!("entry {:?} is not as its checksum has it", self.name)));
        }
        Ok(Some(16))
    }
}

/// Holds an entry's header, of all the bytes before its data, to the name that it should have.
///
/// # Errors
/// `unsupported_model` where something else stands there.
pub fn check_entry(bytes: &[u8], name: &str) -> Result<()> {
    match Entry::parse(bytes, 0)? {
        Some(entry) if entry.name == name && entry.data == bytes.len() as u64 => {
            entry.expect_stored()
        }
        _ => Err(unknown_layout(format!("entry {name:?} stands elsewhere"))),
    }
}

fn alignment(record: &[u8]) -> Result<u64> {
    let text = std::str::from_utf8(record).ok();
    let alignment = text.and_then(|text| text.parse().ok());
    let alignment = alignment.filter(|alignment| (1..=MOST_ALIGNMENT).contains(alignment));
    alignment.ok_or_else(|| unknown_layout("its alignment is unknown"))
}

/// The error of an archive by the name of an entry that torch.save does not write, or not there.
fn other_archive(entry: &str) -> Error {
    let name = entry.split_once('/').map_or(entry, |(_, name)| name);
    if name.starts_with("code/") || name.starts_with("constants") || name.starts_with("data/") {
        return torch_script();
    }
    let message = "this is a zip archive, not a checkpoint as torch.save writes it: take the model.safetensors or pytorch_model.bin of the model";
    Error::new(ErrorKind::UnsupportedModel, message)
}

/// A checkpoint that is valid perhaps, but not as torch writes it.
fn unknown_layout(what: impl Display) -> Error {
    let message = format!(
        "this checkpoint is not laid out as torch.save does it: {what}; save it again with torch.save, or as safetensors"
    );
    Error::new(ErrorKind::UnsupportedModel, message)
}

fn torch_script() -> Error {
    let message = "this is a TorchScript archive, a program with its weights, as OpenAI's .pt files are: take the model.safetensors or pytorch_model.bin of the same model";
    Error::new(ErrorKind::UnsupportedModel, message)
}

fn damaged(what: impl Display) -> Error {
    let message = format!("this torch checkpoint is damaged: {what}; download it again");
    Error::new(ErrorKind::MalformedModel, message)
}
