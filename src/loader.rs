//! Loads a model file, in chunks of any size, into a [`ClipEncoder`].

#[cfg(not(target_arch = "wasm32"))]
mod open;

use std::ops::Range;

use crate::backend::{Backend, Incoming, Weights};
use crate::encoder::ClipEncoder;
use crate::error::{Error, ErrorKind, Result};
use crate::format::gguf::{Header, TensorInfo};
use crate::format::{SNIFF_BYTES, expect_gguf, join_near};
use crate::limits::{Limit, Limits};
use crate::memory;
use crate::model::config::{Family, ModelConfig, Tower, missing_tower};
use crate::model::inventory::{Role, tower_of};
use crate::model::metadata::from_gguf;
use crate::model::tensors::assign;
use crate::model::tokenizer::Tokenizer;
use crate::model::{clip, siglip};
use crate::weights::resident_size;

/// Memory that parsing a header takes, as a multiple of its size in the file.
const HEADER_COPIES: usize = 3;
/// No real CLIP model has a larger header, in bytes. No more memory is checked for a larger one, which may
/// be refused.
const USUAL_HEADER: usize = 2 << 20;

/// Reads a GGUF file as it arrives. Each tensor is converted to its resident form row by row, so neither
/// the file nor any of its tensors is ever held in memory. An unsuitable file is refused at the first chunk
/// that shows it.
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
    /// `None` for all towers that the file has.
    towers: Option<Vec<Tower>>,
    limits: Limits,
    backend: Backend,
    /// Where the next chunk starts in the file.
    position: u64,
    state: State,
}

enum State {
    /// The header's bytes so far, and how many must have arrived before parsing is tried again.
    Header {
        bytes: Vec<u8>,
        parse_at: usize,
    },
    Tensors(Box<Tensors>),
    /// An error was returned; nothing more is accepted.
    Failed,
}

struct Tensors {
    config: ModelConfig,
    limits: Limits,
    file_type: String,
    tokenizer: Option<Tokenizer>,
    tensors: Vec<TensorInfo>,
    /// One for each tensor.
    slots: Vec<Slot>,
    weights: Weights,
}

/// How much of a tensor has arrived.
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
    /// A loader for every tower that the file has.
    pub fn new() -> Self {
        Self::default()
    }

    /// A loader for these towers only; other towers are skipped.
    pub fn of_towers(towers: &[Tower]) -> Self {
        Self { towers: Some(towers.to_vec()), ..Self::default() }
    }

    /// Sets limits other than the default ones; the encoder keeps them. Must be called before the first
    /// byte is pushed.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Loads onto a GPU: weights go to its memory as they arrive. Must be called before the first byte is pushed.
    #[cfg(feature = "gpu")]
    #[must_use]
    pub fn on_gpu(self, gpu: &crate::gpu::Gpu) -> Self {
        Self { backend: Backend::Gpu(gpu.clone()), ..self }
    }

    /// Adds the next bytes of the file.
    ///
    /// # Errors
    /// `not_a_model`, `unsupported_model`, `malformed_model`, `missing_tensor`, or `missing_tower` if the
    /// file lacks a requested tower; `limit_exceeded`; `low_memory`; `internal` if a tensor's bytes are out
    /// of order. After an error the loader accepts nothing more.
    pub fn push(&mut self, chunk: &[u8]) -> Result<()> {
        match self.take(chunk) {
            Ok(()) => Ok(()),
            Err(error) => {
                self.state = State::Failed;
                Err(error)
            }
        }
    }

    /// Sets the position in the file, in bytes, at which the next chunk starts. The header must be pushed
    /// from the file's start without gaps, and the bytes of each tensor in order; tensors may be in any
    /// order.
    pub fn seek(&mut self, position: u64) {
        self.position = position;
    }

    /// The towers that will be loaded; `None` until the header has arrived.
    pub fn towers(&self) -> Option<Vec<Tower>> {
        let State::Tensors(tensors) = &self.state else { return None };
        Some(tensors.config.towers())
    }

    /// The parts of the file that are still needed, in bytes and in file order: those of one tower, or of
    /// all towers that are loaded. `None` until the header has arrived.
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

    /// Size of the whole file in bytes; `None` until the header has arrived.
    pub fn file_size(&self) -> Option<u64> {
        let State::Tensors(tensors) = &self.state else { return None };
        Some(tensors.file_size())
    }

    /// Bytes of memory that the weights of the requested towers will take; `None` until the header has
    /// arrived.
    pub fn resident_size(&self) -> Option<u64> {
        let State::Tensors(tensors) = &self.state else { return None };
        Some(resident_sizes(&tensors.tensors, &tensors.slots))
    }

    /// An encoder with one tower, as soon as its bytes have arrived; the loader continues with the other
    /// tower. See [`ClipEncoder::add`].
    ///
    /// # Errors
    /// `truncated_model` if bytes of the tower are missing; `missing_tower` if the loader does not have the
    /// tower or has already returned it.
    pub fn finish_tower(&mut self, tower: Tower) -> Result<ClipEncoder> {
        let State::Tensors(tensors) = &mut self.state else { return Err(missing_tower(tower)) };
        tensors.finish(&[tower], self.position)
    }

    /// The encoder with all towers that have not been returned yet, after every byte has arrived.
    ///
    /// # Errors
    /// `truncated_model` if bytes are missing; also the errors of [`ModelLoader::push`], if the file is so
    /// small that its header is only parsed now.
    pub fn finish(mut self) -> Result<ClipEncoder> {
        // A small file's header may be complete but not parsed yet.
        self.parse()?;
        match self.state {
            State::Failed => {
                Err(Error::new(ErrorKind::Internal, "the loader failed before; start again"))
            }
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
            State::Failed => {
                Err(Error::new(ErrorKind::Internal, "the loader failed before; start again"))
            }
            State::Tensors(tensors) => tensors.take(chunk, start),
            State::Header { bytes, parse_at } => {
                memory::reserve(bytes, chunk.len() as u64)?;
                bytes.extend_from_slice(chunk);
                if bytes.len() >= *parse_at { self.parse() } else { Ok(()) }
            }
        }
    }

    /// Continues with the tensors, if the header is complete.
    fn parse(&mut self) -> Result<()> {
        let State::Header { bytes, parse_at } = &mut self.state else { return Ok(()) };
        expect_gguf(bytes)?;
        // The header becomes many small strings, each of which takes more memory than in the file.
        memory::probe(&[bytes.len().min(USUAL_HEADER) as u64; HEADER_COPIES])?;
        let Some(header) = Header::parse(bytes, &self.limits)? else {
            *parse_at = bytes.len() * 3 / 2;
            return Ok(());
        };
        let bytes = std::mem::take(bytes);
        let mut tensors = Tensors::new(header, self.towers.as_deref(), self.limits, &self.backend)?;
        tensors.take(&bytes, 0)?;
        self.state = State::Tensors(Box::new(tensors));
        Ok(())
    }
}

impl Tensors {
    fn new(
        mut header: Header,
        towers: Option<&[Tower]>,
        limits: Limits,
        backend: &Backend,
    ) -> Result<Self> {
        let mut config = from_gguf(&header, &limits)?;
        if let Some(towers) = towers {
            keep_towers(&mut config, towers)?;
        }
        let slot = |role: Option<Role>| role.map_or(Slot::Unwanted, Slot::Wanted);
        let slots: Vec<_> = assign(&config, &mut header)?.into_iter().map(slot).collect();
        limits.check(Limit::WeightBytes, resident_sizes(&header.tensors, &slots))?;
        let file_type = file_type(&header);
        // Built before the weights arrive, so that they can use its temporary memory afterwards.
        let tokenizer = tokenizer(&config, &header, &limits)?;
        let Header { tensors, .. } = header;
        let weights = backend.weights(&config, &tensors)?;
        Ok(Self { config, limits, file_type, tokenizer, tensors, slots, weights })
    }

    /// Adds `chunk`, which starts at `start` in the file. The header, the padding between tensors, and
    /// unneeded tensors are skipped.
    fn take(&mut self, chunk: &[u8], start: u64) -> Result<()> {
        let end = start + chunk.len() as u64;
        let first = self.tensors.partition_point(|info| info.offset + info.size <= start);
        for (info, slot) in self.tensors.iter().zip(&mut self.slots).skip(first) {
            if info.offset >= end {
                break;
            }
            if let Slot::Wanted(role) = *slot {
                *slot = Slot::Coming(role, self.weights.incoming(info, role)?);
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
        let model = self.weights.model(&config)?;
        let tokenizer = if config.text.is_some() { self.tokenizer.take() } else { None };
        self.config.text.take_if(|_| config.text.is_some());
        self.config.vision.take_if(|_| config.vision.is_some());
        Ok(ClipEncoder::new(config, self.limits, self.file_type.clone(), tokenizer, model))
    }
}

fn keep_towers(config: &mut ModelConfig, towers: &[Tower]) -> Result<()> {
    let there = config.towers();
    if let Some(tower) = towers.iter().find(|tower| !there.contains(tower)) {
        return Err(missing_tower(*tower));
    }
    config.text.take_if(|_| !towers.contains(&Tower::Text));
    config.vision.take_if(|_| !towers.contains(&Tower::Vision));
    Ok(())
}

/// Bytes of memory for all tensors that are needed, whether they have arrived or not.
fn resident_sizes(tensors: &[TensorInfo], slots: &[Slot]) -> u64 {
    let each = tensors.iter().zip(slots).map(|(info, slot)| match slot {
        Slot::Unwanted => 0,
        Slot::Wanted(role) | Slot::Coming(role, _) | Slot::Complete(role) => {
            resident_size(info, *role)
        }
    });
    each.fold(0, u64::saturating_add)
}

fn tokenizer(config: &ModelConfig, header: &Header, limits: &Limits) -> Result<Option<Tokenizer>> {
    let Some(text) = &config.text else { return Ok(None) };
    let (rows, context) = (text.vocabulary, text.context);
    let fits = |tokens: usize| {
        if tokens <= rows {
            return Ok(());
        }
        let message = format!(
            "the file's vocabulary has {tokens} tokens where its embedding has {rows} rows; use another file"
        );
        Err(Error::new(ErrorKind::MalformedModel, message))
    };
    Ok(Some(match config.family {
        Family::Clip => {
            clip::tokenizer::make_room(rows)?;
            let vocabulary = clip::vocabulary::of_gguf(header, limits)?;
            fits(vocabulary.tokens.len())?;
            let tokenizer = clip::tokenizer::Tokenizer::new(vocabulary, context, text.pooling)?;
            Tokenizer::Clip(Box::new(tokenizer))
        }
        Family::Siglip => {
            siglip::make_room(rows)?;
            let vocabulary = siglip::vocabulary::of_gguf(header, limits)?;
            fits(vocabulary.size())?;
            let cleaning = siglip::vocabulary::cleaning_of_gguf(header)?;
            Tokenizer::Siglip(vocabulary.tokenizer(context, cleaning)?)
        }
    }))
}

/// The type in which most of the bytes are stored, such as `q8_0`: `general.file_type` is often wrong.
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
