//! A checkpoint of safetensors or of torch in chunks of any size -> GGUF in clip.cpp's layout.

#[cfg(not(target_arch = "wasm32"))]
mod directory;
mod piece;
mod plan;
mod scale;

use std::collections::VecDeque;
use std::ops::Range;

use candle_core::quantized::GgmlDType;

#[cfg(not(target_arch = "wasm32"))]
pub use crate::convert::directory::convert;
use crate::convert::piece::Part;
use crate::convert::plan::{Plan, Target};
use crate::convert::scale::{Scale, Waiting};
use crate::error::{Error, ErrorKind, Result};
use crate::format::weights::{Header, Reader, malformed};
use crate::format::{join, join_near};
use crate::limits::Limits;
use crate::memory;
use crate::model::config::Activation;

/// How the 2-D weights are stored. 1-D tensors stay f32 and the patch embedding is f16, as in
/// clip.cpp's own files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileType {
    /// As it is given on the command line, such as `q8_0`.
    pub name: &'static str,
    /// ggml's type.
    pub dtype: GgmlDType,
    /// `general.file_type`, from clip.cpp's converter.
    code: u32,
}

/// Every type that can be written.
pub const FILE_TYPES: [FileType; 7] = [
    FileType { name: "f32", dtype: GgmlDType::F32, code: 0 },
    FileType { name: "f16", dtype: GgmlDType::F16, code: 1 },
    FileType { name: "q4_0", dtype: GgmlDType::Q4_0, code: 2 },
    FileType { name: "q4_1", dtype: GgmlDType::Q4_1, code: 3 },
    FileType { name: "q5_0", dtype: GgmlDType::Q5_0, code: 6 },
    FileType { name: "q5_1", dtype: GgmlDType::Q5_1, code: 7 },
    FileType { name: "q8_0", dtype: GgmlDType::Q8_0, code: 8 },
];

impl FileType {
    /// The type of that name, such as `q8_0`.
    ///
    /// # Errors
    /// `invalid_input` where there is none.
    pub fn named(name: &str) -> Result<Self> {
        let known = FILE_TYPES.into_iter().find(|known| known.name == name);
        known.ok_or_else(|| {
            let names = FILE_TYPES.map(|known| known.name).join(", ");
            Error::new(ErrorKind::InvalidInput, format!("a file type is one of {names}"))
        })
    }
}

/// The texts of the files that stand beside a checkpoint's weights. Of the two configurations the one
/// is read that belongs to the weights, as their names tell.
#[derive(Clone, Debug, Default)]
pub struct Companions {
    /// What the model is called, for `general.name`.
    pub name: String,
    /// `config.json` of a Hugging Face checkpoint.
    pub config: Option<String>,
    /// `open_clip_config.json`.
    pub open_clip_config: Option<String>,
    /// `preprocessor_config.json`. Where this and the next are absent, images are prepared as for OpenAI's models.
    pub preprocessor_config: Option<String>,
    /// `processor_config.json`, which has the image processor's settings in newer checkpoints.
    pub processor_config: Option<String>,
    /// `tokenizer.json` or `vocab.json`.
    pub tokenizer: Option<String>,
    /// `README.md`, whose head may tell the licence.
    pub model_card: Option<String>,
    /// `model.safetensors.index.json` or `pytorch_model.bin.index.json` of weights that are in several files.
    pub index: Option<String>,
}

/// Where the GGUF goes: takes bytes and the offset in the file at which they stand. Offsets are not in
/// order; each byte comes once.
pub type Sink<'a> = dyn FnMut(u64, &[u8]) -> Result<()> + 'a;

/// The sink is given about this much at once, in bytes.
const OUTPUT_BYTES: usize = 1 << 18;

/// Makes a GGUF of files of weights, safetensors or what `torch.save` writes, as they arrive. To be told of a file its
/// parts in order, then its end, and after the last the end of all: [`Converter::push`], [`Converter::end_file`],
/// [`Converter::finish`]. Nothing of them is held but a piece of the tensor that is coming, or the whole of a
/// projection that is stored transposed, and a wrong file is refused at the first chunk that shows it.
pub struct Converter {
    companions: Companions,
    file_type: FileType,
    activation: Option<Activation>,
    limits: Limits,
    /// Whether what is wanted can come before what follows.
    seeks: bool,
    /// Parts of the GGUF that are there already, in order, with a gap before each.
    kept: Vec<Range<u64>>,
    /// Made when the first header has come.
    plan: Option<Plan>,
    state: State,
    output: Output,
}

enum State {
    /// The first bytes of a file, until its header is whole.
    Header(Reader, Vec<u8>),
    /// Of the first file, until the scale is there that goes into the GGUF's header.
    Scale(Waiting),
    Tensors(Tensors),
    /// An error was given; nothing more is taken.
    Failed,
}

impl State {
    /// Of a file of which nothing has come.
    fn header(limits: &Limits) -> Self {
        Self::Header(Reader::new(limits), Vec::new())
    }
}

/// A file whose header has come.
struct Tensors {
    /// Where its last tensor ends, in bytes.
    size: u64,
    /// Whether it ends there.
    ends_with_data: bool,
    /// Where the next chunk begins.
    position: u64,
    /// What is coming and is to come.
    parts: VecDeque<Part>,
    /// The bytes of the first of them so far.
    partial: Vec<u8>,
}

/// What has been converted of a tensor and not been given to the sink.
#[derive(Default)]
struct Output {
    offset: u64,
    bytes: Vec<u8>,
    /// Bytes that the sink has taken.
    written: u64,
}

impl Converter {
    /// `activation` overrides what the checkpoint's configuration says.
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
            seeks: false,
            kept: Vec::new(),
            plan: None,
            state: State::header(&limits),
            output: Output::default(),
        }
    }

    /// The same by other limits than the default ones. To be said before the first byte comes.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, state: State::header(&limits), ..self }
    }

    /// Says that the file can be read from any place on: once its header is there, whoever gives the bytes gives those
    /// that are [`Converter::wanted`], by [`Converter::seek`], and asks again after each part. So the scale of the
    /// logits is found wherever it stands. From a file that comes in order it is taken near the beginning alone, where
    /// safetensors have it; a GGUF without it is taken for one of OpenAI's. To be said before the first byte comes.
    #[must_use]
    pub fn seeking(self) -> Self {
        Self { seeks: true, ..self }
    }

    /// Says which parts of the GGUF an earlier conversion of the same files to the same type has written
    /// before it was broken off, so that they are not made again: offsets in bytes, in any order. To be said
    /// before the first byte comes. A file whose tensors are all kept need not come, but the header of one must.
    pub fn keep(&mut self, mut parts: Vec<Range<u64>>) {
        parts.retain(|part| !part.is_empty());
        parts.sort_by_key(|part| part.start);
        self.kept = join(parts.into_iter(), 0);
    }

    /// The next chunk begins at `position` of the file of weights, in bytes, behind its header. Each tensor's
    /// bytes come in order; what is not among those [`Converter::wanted`] is passed over.
    pub fn seek(&mut self, position: u64) {
        match &mut self.state {
            State::Tensors(tensors) => tensors.position = position,
            State::Scale(waiting) => waiting.seek(position),
            State::Header(..) | State::Failed => {}
        }
    }

    /// Once the header of the file that is coming is there, the parts of it that are yet to come, in bytes and
    /// file order; of one that is [read from any place on](Converter::seeking) first its scale, alone.
    pub fn wanted(&self) -> Option<Vec<Range<u64>>> {
        let tensors = match &self.state {
            State::Tensors(tensors) => tensors,
            State::Scale(waiting) => return waiting.wanted().map(|part| vec![part]),
            State::Header(..) | State::Failed => return None,
        };
        let mut begun = tensors.partial.len() as u64;
        let parts = tensors.parts.iter().map(|part| {
            let from = part.bytes().start + std::mem::take(&mut begun);
            from..part.bytes().end
        });
        Some(join_near(parts))
    }

    /// Takes the next bytes of a file of weights, and gives `sink` what is ready: the GGUF's header
    /// first, then its tensors as they come.
    ///
    /// # Errors
    /// Those of `sink`; `not_a_model`, `unsupported_model`, `malformed_model` or `missing_tensor`,
    /// naming what; `limit_exceeded`; `low_memory`; `internal` where a tensor's bytes are out of order. After an
    /// error the converter takes nothing more.
    pub fn push(&mut self, chunk: &[u8], sink: &mut Sink) -> Result<()> {
        self.state = match std::mem::replace(&mut self.state, State::Failed) {
            State::Failed => return Err(failed()),
            State::Header(mut reader, mut bytes) => {
                memory::reserve(&mut bytes, chunk.len() as u64)?;
                bytes.extend_from_slice(chunk);
                match reader.read(&bytes)? {
                    None => State::Header(reader, bytes),
                    Some(header) => {
                        let scale = match self.plan {
                            None => Scale::find(header, bytes, self.seeks),
                            Some(_) => Scale::Known(header, bytes, None),
                        };
                        self.begin(scale, sink)?
                    }
                }
            }
            State::Scale(waiting) => {
                let scale = waiting.push(chunk)?;
                self.begin(scale, sink)?
            }
            State::Tensors(mut tensors) => {
                self.take(&mut tensors, chunk, sink)?;
                State::Tensors(tensors)
            }
        };
        Ok(())
    }

    /// Says that a file is over. The next bytes, if any come, are the next file's: the order of the
    /// files is free.
    ///
    /// # Errors
    /// `truncated_model` where parts of the file that are wanted have not come, `not_a_model` where it is none.
    pub fn end_file(&mut self) -> Result<()> {
        match std::mem::replace(&mut self.state, State::Failed) {
            State::Failed => Err(failed()),
            State::Header(reader, bytes) => Err(reader.end(&bytes)),
            State::Scale(Waiting { prefix, .. }) => {
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

    /// Says that no further file comes. Without an error the sink has been given the whole GGUF.
    ///
    /// # Errors
    /// `truncated_model` where there should have been more.
    pub fn finish(self) -> Result<()> {
        match (&self.state, &self.plan) {
            (State::Failed, _) => Err(failed()),
            (State::Header(_, bytes), Some(plan)) if bytes.is_empty() => {
                let mut targets = plan.targets.iter();
                match targets.find(|target| !target.found && !self.keeps(&target.stored())) {
                    None => Ok(()),
                    Some(Target { source, .. }) => {
                        Err(truncated(format!("the files end without tensor {}", source.name)))
                    }
                }
            }
            _ => Err(truncated("the checkpoint ends within a file")),
        }
    }

    /// What the whole GGUF holds, in bytes; known once the first header has come.
    pub fn file_size(&self) -> Option<u64> {
        self.plan.as_ref().map(Plan::file_size)
    }

    /// Bytes of the GGUF that the sink has taken.
    pub fn written(&self) -> u64 {
        self.output.written
    }

    /// Where the last tensor of the file that is coming ends, in bytes; known once its header has come. A safetensors
    /// file ends there, a checkpoint of torch goes on with the directory of its archive.
    pub fn source_size(&self) -> Option<u64> {
        match &self.state {
            State::Tensors(tensors) => Some(tensors.size),
            State::Header(..) | State::Scale(_) | State::Failed => None,
        }
    }

    /// Goes on with the tensors, if what is needed before them is there.
    fn begin(&mut self, scale: Scale, sink: &mut Sink) -> Result<State> {
        match scale {
            Scale::Waiting(waiting) => Ok(State::Scale(waiting)),
            Scale::Known(header, prefix, scale) => {
                let mut tensors = self.open(&header, scale, sink)?;
                self.take(&mut tensors, &prefix[header.data_start() as usize..], sink)?;
                Ok(State::Tensors(tensors))
            }
        }
    }

    fn keeps(&self, part: &Range<u64>) -> bool {
        self.kept.iter().any(|kept| kept.start <= part.start && part.end <= kept.end)
    }

    fn open(&mut self, header: &Header, scale: Option<f32>, sink: &mut Sink) -> Result<Tensors> {
        let mut plan = match self.plan.take() {
            Some(plan) => plan,
            None => {
                let companions = std::mem::take(&mut self.companions);
                Plan::new(
                    &companions,
                    header,
                    self.file_type,
                    self.activation,
                    scale,
                    &self.limits,
                )?
            }
        };
        let mut pieces = piece::cut(&mut plan, header)?;
        pieces.retain(|piece| {
            let target = &plan.targets[piece.target];
            !self.keeps(&target.stored()) && !self.keeps(&piece.stored(target))
        });
        if self.output.written == 0 {
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

    /// Gives the padding of those tensors that are kept without it: no piece of theirs will bring it.
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
            return Err(malformed("it goes on after its last tensor"));
        }
        tensors.position = end;
        while let Some(part) = tensors.parts.front() {
            let bytes = part.bytes();
            if end <= bytes.start {
                break;
            }
            let next = bytes.start + tensors.partial.len() as u64;
            // A chunk may begin before a piece, with bytes that nothing wants, but not go back within one.
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
            // Where what follows in the GGUF is kept, nothing comes after that would push this out.
            let next = tensors.parts.front();
            let goes_on = !ends
                && matches!(next, Some(Part::Piece(piece)) if piece.offset == self.output.end());
            if !goes_on || self.output.bytes.len() >= OUTPUT_BYTES {
                self.output.flush(sink)?;
            }
        }
        Ok(())
    }
}

impl Output {
    /// Adds what follows the bytes it has, or where it has none, what stands at `offset`.
    fn put(&mut self, offset: u64, bytes: &[u8]) {
        if self.bytes.is_empty() {
            self.offset = offset;
        }
        self.bytes.extend_from_slice(bytes);
    }

    fn pad_to(&mut self, end: u64) {
        self.bytes.resize((end - self.offset) as usize, 0);
    }

    fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }

    fn flush(&mut self, sink: &mut Sink) -> Result<()> {
        sink(self.offset, &self.bytes)?;
        self.written += self.bytes.len() as u64;
        self.bytes.clear();
        Ok(())
    }
}

fn failed() -> Error {
    Error::new(ErrorKind::Internal, "the converter has failed before")
}

fn truncated(what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::TruncatedModel, format!("{what}; download it again"))
}
