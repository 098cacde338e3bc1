//! A model file in chunks of any size -> [`ClipEncoder`].

use std::ops::Range;

use crate::cpu::ClipModel;
use crate::cpu::weights::{Incoming, Weights, resident_size};
use crate::encoder::ClipEncoder;
use crate::error::{Error, ErrorKind, Result};
use crate::format::gguf::{Header, TensorInfo};
use crate::format::{SNIFF_BYTES, expect_gguf, join_near};
use crate::limits::{Limit, Limits};
use crate::memory;
use crate::model::clip::config::ClipConfig;
use crate::model::clip::names::assign;
use crate::model::clip::tokenizer::{Tokenizer, make_room};
use crate::model::clip::vocabulary;
use crate::model::config::{Tower, missing_tower};
use crate::model::inventory::{Role, tower_of};

/// What a parsed header takes, in sizes of the one that has come.
const HEADER_COPIES: usize = 3;
/// What no header of a CLIP model exceeds, in bytes: for a larger one, which may be refused, no more is taken.
const USUAL_HEADER: usize = 2 << 20;

/// Reads a GGUF file as it arrives. Each tensor is put in its resident form row by row, so the file is
/// never held, nor any tensor of it, and a wrong file is refused at the first chunk that shows it.
///
/// ```no_run
/// use std::io::Read;
///
/// use clip_wasm::{ModelLoader, Tower};
///
/// let mut loader = ModelLoader::of_towers(&[Tower::Text]);
/// let mut source = std::io::stdin();
/// let mut chunk = vec![0; 1 << 16];
/// loop {
///     match source.read(&mut chunk)? {
///         0 => break,
///         n => loader.push(&chunk[..n])?,
///     }
/// }
/// let clip = loader.finish()?;
/// println!("{} components", clip.embed_text("a photo of a cat", true)?.values().len());
/// # Ok::<(), clip_wasm::Error>(())
/// ```
#[derive(Default)]
pub struct ModelLoader {
    /// `None` for those that the file has.
    towers: Option<Vec<Tower>>,
    limits: Limits,
    /// Where in the file the next chunk begins.
    position: u64,
    state: State,
}

enum State {
    /// The header's bytes so far, and how many there must be before it is worth parsing again.
    Header {
        bytes: Vec<u8>,
        parse_at: usize,
    },
    Tensors(Box<Tensors>),
    /// An error was given; nothing more is taken.
    Failed,
}

struct Tensors {
    config: ClipConfig,
    limits: Limits,
    file_type: String,
    tokenizer: Option<Tokenizer>,
    tensors: Vec<TensorInfo>,
    /// One for each tensor.
    slots: Vec<Slot>,
    weights: Weights,
}

/// What has come of a tensor.
enum Slot {
    Unwanted,
    Wanted(Role),
    Coming(Role, Incoming),
    Complete(Role),
}

impl Default for State {
    fn default() -> Self {
        Self::Header { bytes: Vec::new(), parse_at: SNIFF_BYTES }
    }
}

impl ModelLoader {
    /// A loader of every tower that the file has.
    pub fn new() -> Self {
        Self::default()
    }

    /// A loader that leaves out all other towers.
    pub fn of_towers(towers: &[Tower]) -> Self {
        Self { towers: Some(towers.to_vec()), ..Self::default() }
    }

    /// The same by other limits than the default ones, which the encoder keeps. To be said before the first byte
    /// comes.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Takes the next bytes of the file.
    ///
    /// # Errors
    /// `not_a_model`, `unsupported_model`, `malformed_model`, `missing_tensor`, or `missing_tower` for a
    /// tower that the file has not got; `limit_exceeded`; `low_memory`. After an error the loader takes
    /// nothing more.
    pub fn push(&mut self, chunk: &[u8]) -> Result<()> {
        match self.take(chunk) {
            Ok(()) => Ok(()),
            Err(error) => {
                self.state = State::Failed;
                Err(error)
            }
        }
    }

    /// The next chunk begins at `position`. The header is read from the file's start without a gap, and
    /// each tensor's bytes come in order; tensors may come in any.
    pub fn seek(&mut self, position: u64) {
        self.position = position;
    }

    /// Once the header has come, the towers that are loaded.
    pub fn towers(&self) -> Option<Vec<Tower>> {
        let State::Tensors(tensors) = &self.state else { return None };
        Some(tensors.config.towers())
    }

    /// Once the header has come, the parts of the file that are yet to come, in file order: those of one
    /// tower, or of all that are loaded.
    pub fn wanted(&self, tower: Option<Tower>) -> Option<Vec<Range<u64>>> {
        let State::Tensors(tensors) = &self.state else { return None };
        let parts = tensors.tensors.iter().zip(&tensors.slots).filter_map(|(info, slot)| {
            let end = info.offset + info.size;
            let from = match slot {
                Slot::Unwanted | Slot::Complete(_) => return None,
                Slot::Wanted(_) => info.offset,
                Slot::Coming(_, incoming) => end - incoming.missing(),
            };
            tower.is_none_or(|tower| tower_of(&info.name) == tower).then_some(from..end)
        });
        Some(join_near(parts))
    }

    /// Once the header has come, the bytes of a whole file.
    pub fn file_size(&self) -> Option<u64> {
        let State::Tensors(tensors) = &self.state else { return None };
        Some(tensors.file_size())
    }

    /// Once the header has come, the bytes of memory that the weights of the towers asked for take when all
    /// have come.
    pub fn resident_size(&self) -> Option<u64> {
        let State::Tensors(tensors) = &self.state else { return None };
        Some(resident_sizes(&tensors.tensors, &tensors.slots))
    }

    /// An encoder with one tower, once its bytes have come; the loader goes on with the other. See
    /// [`ClipEncoder::add`].
    ///
    /// # Errors
    /// `truncated_model` where they have not; `missing_tower` where the loader has not got it, or has given
    /// it already.
    pub fn finish_tower(&mut self, tower: Tower) -> Result<ClipEncoder> {
        let State::Tensors(tensors) = &mut self.state else { return Err(missing_tower(tower)) };
        tensors.finish(&[tower], self.position)
    }

    /// The encoder, once every byte has come, with all towers that have not been given yet.
    ///
    /// # Errors
    /// `truncated_model` where they have not; those of [`ModelLoader::push`] of a file that is nothing but a header.
    pub fn finish(mut self) -> Result<ClipEncoder> {
        // Of a small file the header may be whole, and not have been worth parsing yet.
        self.parse()?;
        match self.state {
            State::Failed => Err(Error::new(ErrorKind::Internal, "the loader has failed before")),
            State::Header { .. } => Err(truncated(self.position, None)),
            State::Tensors(mut tensors) => {
                let towers = tensors.config.towers();
                tensors.finish(&towers, self.position)
            }
        }
    }

    fn take(&mut self, chunk: &[u8]) -> Result<()> {
        let start = self.position;
        self.position += chunk.len() as u64;
        match &mut self.state {
            State::Failed => Err(Error::new(ErrorKind::Internal, "the loader has failed before")),
            State::Tensors(tensors) => tensors.take(chunk, start),
            State::Header { bytes, parse_at } => {
                memory::reserve(bytes, chunk.len() as u64)?;
                bytes.extend_from_slice(chunk);
                if bytes.len() >= *parse_at { self.parse() } else { Ok(()) }
            }
        }
    }

    /// Goes on to the tensors, where the header is whole.
    fn parse(&mut self) -> Result<()> {
        let State::Header { bytes, parse_at } = &mut self.state else { return Ok(()) };
        expect_gguf(bytes)?;
        // Its strings, many and small, each of which takes more than in the file.
        memory::probe(&[bytes.len().min(USUAL_HEADER) as u64; HEADER_COPIES])?;
        let Some(header) = Header::parse(bytes, &self.limits)? else {
            *parse_at = bytes.len() * 3 / 2;
            return Ok(());
        };
        let bytes = std::mem::take(bytes);
        let mut tensors = Tensors::new(header, self.towers.as_deref(), self.limits)?;
        tensors.take(&bytes, 0)?;
        self.state = State::Tensors(Box::new(tensors));
        Ok(())
    }
}

impl Tensors {
    fn new(mut header: Header, towers: Option<&[Tower]>, limits: Limits) -> Result<Self> {
        let mut config = ClipConfig::from_gguf(&header, &limits)?;
        if let Some(towers) = towers {
            keep_towers(&mut config, towers)?;
        }
        let slot = |role: Option<Role>| role.map_or(Slot::Unwanted, Slot::Wanted);
        let slots: Vec<_> = assign(&config, &mut header)?.into_iter().map(slot).collect();
        limits.check(Limit::WeightBytes, resident_sizes(&header.tensors, &slots))?;
        let file_type = file_type(&header);
        // Made before the weights come: what it takes meanwhile is theirs afterwards.
        let tokenizer = tokenizer(&config, &header, &limits)?;
        let Header { tensors, .. } = header;
        let weights = Weights::default();
        Ok(Self { config, limits, file_type, tokenizer, tensors, slots, weights })
    }

    /// Takes `chunk`, which begins at `start` in the file. The header, the padding between tensors, and what
    /// nobody wants, are passed over.
    fn take(&mut self, chunk: &[u8], start: u64) -> Result<()> {
        let end = start + chunk.len() as u64;
        let first = self.tensors.partition_point(|info| info.offset + info.size <= start);
        for (info, slot) in self.tensors.iter().zip(&mut self.slots).skip(first) {
            if info.offset >= end {
                break;
            }
            if let Slot::Wanted(role) = *slot {
                *slot = Slot::Coming(role, Incoming::new(info, role)?);
            }
            let Slot::Coming(role, incoming) = slot else { continue };
            let role = *role;
            let from = info.offset.max(start);
            if from != info.offset + info.size - incoming.missing() {
                let message = format!("the bytes of tensor {} are out of order", info.name);
                return Err(Error::new(ErrorKind::Internal, message));
            }
            let to = (info.offset + info.size).min(end);
            incoming.push(&chunk[(from - start) as usize..(to - start) as usize])?;
            if incoming.missing() == 0
                && let Slot::Coming(_, incoming) = std::mem::replace(slot, Slot::Complete(role))
            {
                self.weights.insert(incoming)?;
            }
        }
        Ok(())
    }

    /// The end of the last tensor.
    fn file_size(&self) -> u64 {
        self.tensors.last().map_or(0, |info| info.offset + info.size)
    }

    fn finish(&mut self, towers: &[Tower], position: u64) -> Result<ClipEncoder> {
        let mut config = self.config.clone();
        keep_towers(&mut config, towers)?;
        let file_size = self.file_size();
        for (info, slot) in self.tensors.iter().zip(&mut self.slots) {
            let ours = towers.contains(&tower_of(&info.name));
            match slot {
                Slot::Wanted(_) | Slot::Coming(..) if ours => {
                    return Err(truncated(position, Some(file_size)));
                }
                Slot::Complete(_) if ours => *slot = Slot::Unwanted,
                _ => {}
            }
        }
        let model = ClipModel::new(&config, &mut self.weights)?;
        let tokenizer = if config.text.is_some() { self.tokenizer.take() } else { None };
        self.config.text.take_if(|_| config.text.is_some());
        self.config.vision.take_if(|_| config.vision.is_some());
        Ok(ClipEncoder::new(config, self.limits, self.file_type.clone(), tokenizer, model))
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl ClipEncoder {
    /// Reads a GGUF file.
    ///
    /// # Errors
    /// `io`, and those of [`ModelLoader`].
    pub fn open(path: impl AsRef<std::path::Path>) -> Result<Self> {
        Self::open_within(path, Limits::default())
    }

    /// Reads a GGUF file by other limits than the default ones, which go for images and texts too.
    ///
    /// # Errors
    /// Those of [`ClipEncoder::open`].
    pub fn open_within(path: impl AsRef<std::path::Path>, limits: Limits) -> Result<Self> {
        use std::io::Read;

        let path = path.as_ref();
        let of = |error: Error| error.context(path.display());
        let mut file = std::fs::File::open(path).map_err(|source| of(source.into()))?;
        let mut loader = ModelLoader::new().with_limits(limits);
        let mut chunk = vec![0; 1 << 20];
        loop {
            match file.read(&mut chunk).map_err(|source| of(source.into()))? {
                0 => return loader.finish().map_err(of),
                n => loader.push(&chunk[..n]).map_err(of)?,
            }
        }
    }
}

fn keep_towers(config: &mut ClipConfig, towers: &[Tower]) -> Result<()> {
    let there = config.towers();
    if let Some(tower) = towers.iter().find(|tower| !there.contains(tower)) {
        return Err(missing_tower(*tower));
    }
    config.text.take_if(|_| !towers.contains(&Tower::Text));
    config.vision.take_if(|_| !towers.contains(&Tower::Vision));
    Ok(())
}

/// The bytes of memory that those tensors take which are wanted, come or not.
fn resident_sizes(tensors: &[TensorInfo], slots: &[Slot]) -> u64 {
    let each = tensors.iter().zip(slots).map(|(info, slot)| match slot {
        Slot::Unwanted => 0,
        Slot::Wanted(role) | Slot::Coming(role, _) | Slot::Complete(role) => {
            resident_size(info, *role)
        }
    });
    each.fold(0, u64::saturating_add)
}

fn tokenizer(config: &ClipConfig, header: &Header, limits: &Limits) -> Result<Option<Tokenizer>> {
    let Some(text) = &config.text else { return Ok(None) };
    make_room(text.stock.vocab_size)?;
    let vocabulary = vocabulary::of_gguf(header, limits)?;
    if vocabulary.tokens.len() > text.stock.vocab_size {
        let message = format!(
            "the file's vocabulary has {} tokens where its embedding has {}; use another file",
            vocabulary.tokens.len(),
            text.stock.vocab_size
        );
        return Err(Error::new(ErrorKind::MalformedModel, message));
    }
    Tokenizer::new(vocabulary, text.stock.max_position_embeddings, text.pooling).map(Some)
}

/// The type most of the bytes are stored in, such as `q8_0`: `general.file_type` is often wrong.
fn file_type(header: &Header) -> String {
    let mut sizes = std::collections::HashMap::new();
    for tensor in &header.tensors {
        *sizes.entry(format!("{:?}", tensor.dtype).to_lowercase()).or_insert(0) += tensor.size;
    }
    let most = sizes.into_iter().max_by_key(|(name, size)| (*size, name.clone()));
    most.map(|(name, _)| name).unwrap_or_default()
}

fn truncated(received: u64, whole: Option<u64>) -> Error {
    let of = whole.map(|whole| format!(" of {whole}")).unwrap_or_default();
    let message = format!("the file ends after {received}{of} bytes; download it again");
    Error::new(ErrorKind::TruncatedModel, message)
}
