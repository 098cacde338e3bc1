//! Converts a checkpoint of safetensors or of torch, in chunks of any size, to GGUF in clip.cpp's layout.

mod companions;
mod file_type;
#[cfg(not(target_arch = "wasm32"))]
mod folder;
mod logits;
mod metadata;
mod output;
mod piece;
mod plan;
mod state;

use std::ops::Range;

pub use crate::convert::companions::Companions;
pub use crate::convert::file_type::{FILE_TYPES, FileType};
#[cfg(not(target_arch = "wasm32"))]
pub use crate::convert::folder::{COMPANIONS, convert};
use crate::convert::logits::{Found, Logits, Waiting};
use crate::convert::output::Output;
use crate::convert::piece::Part;
use crate::convert::plan::{Plan, Target};
use crate::convert::state::{State, Tensors};
use crate::error::{Error, ErrorKind, Result};
use crate::format::weights::{Header, malformed};
use crate::format::{join, join_near};
use crate::limits::Limits;
use crate::memory;
use crate::model::config::{Activation, Tower};
use crate::model::inventory::tower_of;

/// Receives the GGUF: bytes, and their offset in the file. Offsets are not in order; each byte is passed
/// once.
pub type Sink<'a> = dyn FnMut(u64, &[u8]) -> Result<()> + 'a;

/// Converts files of weights, safetensors or written by `torch.save`, to a GGUF as they arrive. Pass each
/// file's bytes with [`Converter::push`], call [`Converter::end_file`] after each file, and
/// [`Converter::finish`] at the end. Memory holds only a piece of the current tensor, or all of a
/// projection that is stored transposed. An unsuitable file is refused at the first chunk that shows it.
pub struct Converter {
    companions: Companions,
    file_type: FileType,
    activation: Option<Activation>,
    limits: Limits,
    /// The towers to convert; `None` for all.
    towers: Option<Vec<Tower>>,
    /// Whether the caller can pass a later part of the file first.
    seeks: bool,
    /// Parts of the GGUF that already exist, in order, with gaps between them.
    kept: Vec<Range<u64>>,
    /// Created when the first header has been read.
    plan: Option<Plan>,
    state: State,
    output: Output,
}

impl Converter {
    /// `activation` overrides the checkpoint's configuration.
    pub fn new(
        companions: Companions,
        file_type: FileType,
        activation: Option<Activation>,
    ) -> Self {
        let limits = Limits::default();
        Self {
            companions,
            file_type,
            activation,
            limits,
            towers: None,
            seeks: false,
            kept: Vec::new(),
            plan: None,
            state: State::header(&limits),
            output: Output::default(),
        }
    }

    /// Sets limits other than the default ones. Must be called before the first byte is pushed.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, state: State::header(&limits), ..self }
    }

    /// Converts only the tensors of these towers, so that no others are [`Converter::wanted`]. The GGUF is
    /// laid out for all towers: a later conversion can [`Converter::keep`] what was written, and add the
    /// rest. Must be called before the first byte is pushed.
    pub fn only(&mut self, towers: &[Tower]) {
        self.towers = Some(towers.to_vec());
    }

    /// Declares that the caller can read the files from any position. After the header, the caller passes
    /// the parts that are [`Converter::wanted`], with [`Converter::seek`], and asks again after each part.
    /// So the logit scale is found wherever it is stored. Without this, files are pushed in order and the
    /// scale is only read close to the header, where safetensors files have it; a GGUF without a scale is
    /// treated like one of OpenAI's. Must be called before the first byte is pushed.
    #[must_use]
    pub fn seeking(self) -> Self {
        Self { seeks: true, ..self }
    }

    /// Declares which parts of the GGUF an earlier conversion of the same files, with the same companions, to
    /// the same type has written, so that they are not written again: offsets in bytes, in any order. If the
    /// GGUF's header differs from the one that was written then, a companion has changed, and these parts
    /// must not be used. Must be called before the first byte is pushed. A file whose tensors all exist need
    /// not be pushed, but at least one file's header is needed.
    pub fn keep(&mut self, mut parts: Vec<Range<u64>>) {
        parts.retain(|part| !part.is_empty());
        parts.sort_by_key(|part| part.start);
        self.kept = join(parts.into_iter(), 0);
    }

    /// Sets the position in the file of weights, in bytes, at which the next chunk starts, after the
    /// header. The bytes of each tensor must be pushed in order; bytes that are not [`Converter::wanted`]
    /// are ignored.
    pub fn seek(&mut self, position: u64) {
        match &mut self.state {
            State::Tensors(tensors) => tensors.position = position,
            State::Logits(waiting) => waiting.seek(position),
            State::Header(..) | State::Failed => {}
        }
    }

    /// The parts of the current file that are still needed, in bytes and in file order; `None` until its
    /// header has been read. If the converter is [seeking](Converter::seeking), only the scale is listed
    /// first.
    pub fn wanted(&self) -> Option<Vec<Range<u64>>> {
        let tensors = match &self.state {
            State::Tensors(tensors) => tensors,
            State::Logits(waiting) => return waiting.wanted().map(|part| vec![part]),
            State::Header(..) | State::Failed => return None,
        };
        let mut begun = tensors.partial.len() as u64;
        let parts = tensors.parts.iter().map(|part| {
            let from = part.bytes().start + std::mem::take(&mut begun);
            from..part.bytes().end
        });
        Some(join_near(parts))
    }

    /// Adds the next bytes of a file of weights, and passes to `sink` what is ready: the GGUF's header
    /// first, then its tensors as they are converted.
    ///
    /// # Errors
    /// Errors of `sink`; `not_a_model`, `unsupported_model`, `malformed_model` or `missing_tensor`, with
    /// the reason; `limit_exceeded`; `low_memory`; `internal` if a tensor's bytes are out of order. After
    /// an error the converter accepts nothing more.
    pub fn push(&mut self, chunk: &[u8], sink: &mut Sink) -> Result<()> {
        self.state = match std::mem::replace(&mut self.state, State::Failed) {
            State::Failed => return Err(failed()),
            State::Header(mut reader, mut bytes) => {
                memory::reserve(&mut bytes, chunk.len() as u64)?;
                bytes.extend_from_slice(chunk);
                match reader.read(&bytes)? {
                    None => State::Header(reader, bytes),
                    Some(header) => {
                        let found = match self.plan {
                            None => Found::find(header, bytes, self.seeks),
                            Some(_) => Found::Known(header, bytes, Logits::default()),
                        };
                        self.begin(found, sink)?
                    }
                }
            }
            State::Logits(waiting) => {
                let found = waiting.push(chunk)?;
                self.begin(found, sink)?
            }
            State::Tensors(mut tensors) => {
                self.take(&mut tensors, chunk, sink)?;
                State::Tensors(tensors)
            }
        };
        Ok(())
    }

    /// Declares the end of a file. The next bytes, if any, belong to the next file; files may be in any
    /// order.
    ///
    /// # Errors
    /// `truncated_model` if needed parts of the file are missing, `not_a_model` if it is not a file of
    /// weights.
    pub fn end_file(&mut self) -> Result<()> {
        match std::mem::replace(&mut self.state, State::Failed) {
            State::Failed => Err(failed()),
            State::Header(reader, bytes) => Err(reader.end(&bytes)),
            State::Logits(Waiting { prefix, .. }) => {
                Err(truncated(format!("the file ends after {} bytes", prefix.len())))
            }
            State::Tensors(Tensors { size, position, parts, .. }) if !parts.is_empty() => {
                Err(truncated(format!("the file ends after {position} of {size} bytes")))
            }
            State::Tensors(_) => {
                self.state = State::header(&self.limits);
                Ok(())
            }
        }
    }

    /// Declares that there are no more files. If this returns no error, the sink has received the whole
    /// GGUF, or the parts of it that the wanted towers are in.
    ///
    /// # Errors
    /// `truncated_model` if something is missing.
    pub fn finish(self) -> Result<()> {
        match (&self.state, &self.plan) {
            (State::Failed, _) => Err(failed()),
            (State::Header(_, bytes), Some(plan)) if bytes.is_empty() => {
                let mut targets = plan.targets.iter();
                let is_missing = |target: &&Target| {
                    !target.found && self.converts(target) && !self.keeps(&target.stored())
                };
                match targets.find(is_missing) {
                    None => Ok(()),
                    Some(Target { source, .. }) => {
                        Err(truncated(format!("none of the files contains tensor {}", source.name)))
                    }
                }
            }
            _ => Err(truncated("the checkpoint ends inside a file")),
        }
    }

    /// Size of the whole GGUF in bytes; known when the first header has been read.
    pub fn file_size(&self) -> Option<u64> {
        self.plan.as_ref().map(Plan::file_size)
    }

    /// Number of bytes of the GGUF that the sink has received.
    pub fn written(&self) -> u64 {
        self.output.written()
    }

    /// The end of the last tensor of the current file, in bytes; known when its header has been read. A
    /// safetensors file ends there; a torch checkpoint continues with the directory of its archive.
    pub fn source_size(&self) -> Option<u64> {
        match &self.state {
            State::Tensors(tensors) => Some(tensors.size),
            State::Header(..) | State::Logits(_) | State::Failed => None,
        }
    }

    /// Continues with the tensors, if everything that must precede them is known.
    fn begin(&mut self, found: Found, sink: &mut Sink) -> Result<State> {
        match found {
            Found::Waiting(waiting) => Ok(State::Logits(waiting)),
            Found::Known(header, prefix, logits) => {
                let mut tensors = self.open(&header, logits, sink)?;
                self.take(&mut tensors, &prefix[header.data_start() as usize..], sink)?;
                Ok(State::Tensors(tensors))
            }
        }
    }

    fn keeps(&self, part: &Range<u64>) -> bool {
        self.kept.iter().any(|kept| kept.start <= part.start && part.end <= kept.end)
    }

    /// Whether the tensor belongs to a tower that is to be converted.
    fn converts(&self, target: &Target) -> bool {
        let tower = tower_of(&target.info.name);
        self.towers.as_ref().is_none_or(|towers| towers.contains(&tower))
    }

    fn open(&mut self, header: &Header, logits: Logits, sink: &mut Sink) -> Result<Tensors> {
        let mut plan = match self.plan.take() {
            Some(plan) => plan,
            None => {
                let companions = std::mem::take(&mut self.companions);
                Plan::new(
                    &companions,
                    header,
                    self.file_type,
                    self.activation,
                    logits,
                    &self.limits,
                )?
            }
        };
        let mut pieces = piece::cut(&mut plan, header)?;
        pieces.retain(|piece| {
            let target = &plan.targets[piece.target];
            self.converts(target)
                && !self.keeps(&target.stored())
                && !self.keeps(&piece.stored(target))
        });
        if self.output.written() == 0 {
            self.output.put(0, &std::mem::take(&mut plan.header));
            self.output.flush(sink)?;
            self.pad_kept(&plan, sink)?;
        }
        self.plan = Some(plan);
        Ok(Tensors {
            size: header.data_end(),
            ends_with_data: header.ends_with_data(),
            position: header.data_start(),
            parts: piece::with_checks(pieces, header.checks()),
            partial: Vec::new(),
        })
    }

    /// Writes the padding of tensors that exist without it: no piece of theirs would write it.
    fn pad_kept(&mut self, plan: &Plan, sink: &mut Sink) -> Result<()> {
        for target in &plan.targets {
            let stored = target.stored();
            if self.keeps(&stored) && !self.keeps(&(stored.start..target.end())) {
                self.output.put(stored.end, &[]);
                self.output.pad_to(target.end());
                self.output.flush(sink)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, tensors: &mut Tensors, chunk: &[u8], sink: &mut Sink) -> Result<()> {
        let plan = self.plan.as_ref().expect("made before the first tensor");
        let start = tensors.position;
        let end = start.saturating_add(chunk.len() as u64);
        if end > tensors.size && tensors.ends_with_data {
            return Err(malformed("it continues after its last tensor"));
        }
        tensors.position = end;
        while let Some(part) = tensors.parts.front() {
            let bytes = part.bytes();
            if end <= bytes.start {
                break;
            }
            let next = bytes.start + tensors.partial.len() as u64;
            // A chunk may start before a piece, with bytes that nothing needs, but must not go back inside
            // one.
            if start > next || start < next && !tensors.partial.is_empty() {
                let name = match part {
                    Part::Check(check) => &check.name,
                    Part::Piece(piece) => &plan.targets[piece.target].source.name,
                };
                let message = format!("the bytes of tensor {name} are out of order");
                return Err(Error::new(ErrorKind::Internal, message));
            }
            let from = (next - start) as usize;
            let to = (bytes.end.min(end) - start) as usize;
            memory::reserve(&mut tensors.partial, bytes.end - next)?;
            tensors.partial.extend_from_slice(&chunk[from..to]);
            if bytes.end > end {
                break;
            }
            let piece = match part {
                Part::Piece(piece) => piece,
                Part::Check(check) => {
                    check.check(&tensors.partial)?;
                    tensors.partial.clear();
                    tensors.parts.pop_front();
                    continue;
                }
            };
            let target = &plan.targets[piece.target];
            let stored = piece.convert(&tensors.partial, target)?;
            self.output.put(piece.offset, &stored.data()?);
            tensors.partial.clear();
            tensors.parts.pop_front();
            let ends = self.output.end() == target.stored().end;
            if ends {
                self.output.pad_to(target.end());
            }
            // If the next part of the GGUF already exists, no later output would flush this one.
            let next = tensors.parts.front();
            let goes_on = !ends
                && matches!(next, Some(Part::Piece(piece)) if piece.offset == self.output.end());
            if !goes_on || self.output.is_full() {
                self.output.flush(sink)?;
            }
        }
        Ok(())
    }
}

fn failed() -> Error {
    Error::new(ErrorKind::Internal, "the converter has already failed; start a new conversion")
}

fn truncated(what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::TruncatedModel, format!("{what}; download it again"))
}
