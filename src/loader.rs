//! A model file in chunks of any size -> [`ClipEncoder`].

use crate::config::ClipConfig;
use crate::encoder::ClipEncoder;
use crate::error::{Error, ErrorKind, Result};
use crate::format::gguf::{Header, TensorInfo, Value};
use crate::format::names::{Role, assign};
use crate::format::{SNIFF_BYTES, expect_gguf};
use crate::model::ClipModel;
use crate::tokenizer::Tokenizer;
use crate::weights::Weights;

/// Reads a GGUF file as it arrives. Each tensor is put in its resident form as soon as it is complete,
/// so the file is never held whole, and a wrong file is refused at the first chunk that shows it.
#[derive(Default)]
pub struct ModelLoader {
    /// Bytes taken so far.
    received: u64,
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
    header: Header,
    roles: Vec<Option<Role>>,
    weights: Weights,
    /// The tensor that comes next or is coming.
    next: usize,
    /// Its bytes so far.
    partial: Vec<u8>,
}

impl Default for State {
    fn default() -> Self {
        Self::Header { bytes: Vec::new(), parse_at: SNIFF_BYTES }
    }
}

impl ModelLoader {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes of the file.
    ///
    /// # Errors
    /// `not_a_model`, `unsupported_model`, `malformed_model` or `missing_tensor`. After an error the
    /// loader takes nothing more.
    pub fn push(&mut self, chunk: &[u8]) -> Result<()> {
        match self.take(chunk) {
            Ok(()) => Ok(()),
            Err(error) => {
                self.state = State::Failed;
                Err(error)
            }
        }
    }

    /// The encoder, once every byte has come.
    ///
    /// # Errors
    /// `truncated_model` where they have not; `malformed_model` for a vocabulary that is none of
    /// CLIP's scheme.
    pub fn finish(self) -> Result<ClipEncoder> {
        match self.state {
            State::Failed => Err(Error::new(ErrorKind::Internal, "the loader has failed before")),
            State::Header { bytes, .. } => {
                expect_gguf(&bytes)?;
                Err(truncated(self.received, None))
            }
            State::Tensors(tensors) if tensors.next < tensors.header.tensors.len() => {
                Err(truncated(self.received, Some(tensors.header.file_size())))
            }
            State::Tensors(tensors) => {
                let Tensors { config, header, weights, .. } = *tensors;
                let tokenizer = tokenizer(&config, &header)?;
                let model = ClipModel::new(&config, weights)?;
                Ok(ClipEncoder::new(config, file_type(&header), tokenizer, model))
            }
        }
    }

    fn take(&mut self, chunk: &[u8]) -> Result<()> {
        let start = self.received;
        self.received += chunk.len() as u64;
        match &mut self.state {
            State::Failed => Err(Error::new(ErrorKind::Internal, "the loader has failed before")),
            State::Tensors(tensors) => tensors.take(chunk, start),
            State::Header { bytes, parse_at } => {
                bytes.extend_from_slice(chunk);
                if bytes.len() < *parse_at {
                    return Ok(());
                }
                expect_gguf(bytes)?;
                let Some(header) = Header::parse(bytes)? else {
                    *parse_at = bytes.len() * 3 / 2;
                    return Ok(());
                };
                let bytes = std::mem::take(bytes);
                let mut tensors = Tensors::new(header)?;
                tensors.take(&bytes, 0)?;
                self.state = State::Tensors(Box::new(tensors));
                Ok(())
            }
        }
    }
}

impl Tensors {
    fn new(mut header: Header) -> Result<Self> {
        let config = ClipConfig::from_gguf(&header)?;
        let roles = assign(&config, &mut header)?;
        let weights = Weights::default();
        Ok(Self { config, header, roles, weights, next: 0, partial: Vec::new() })
    }

    /// Takes `chunk`, which begins at `start` in the file: the header and the padding between tensors
    /// are passed over, and whole tensors are read where they lie.
    fn take(&mut self, chunk: &[u8], start: u64) -> Result<()> {
        let end = start + chunk.len() as u64;
        while let Some(info) = self.header.tensors.get(self.next) {
            let tensor_end = info.offset + info.size;
            if end <= info.offset && info.size > 0 {
                break;
            }
            let from = (info.offset.max(start) - start) as usize;
            let to = (tensor_end.min(end) - start) as usize;
            let piece = &chunk[from..to];
            if piece.len() as u64 == info.size {
                finish_tensor(&mut self.weights, info, self.roles[self.next], piece)?;
            } else {
                if self.partial.is_empty() {
                    self.partial.reserve_exact(info.size as usize);
                }
                self.partial.extend_from_slice(piece);
                if (self.partial.len() as u64) < info.size {
                    break;
                }
                let partial = std::mem::take(&mut self.partial);
                finish_tensor(&mut self.weights, info, self.roles[self.next], &partial)?;
            }
            self.next += 1;
        }
        Ok(())
    }
}

fn finish_tensor(
    weights: &mut Weights,
    info: &TensorInfo,
    role: Option<Role>,
    bytes: &[u8],
) -> Result<()> {
    role.map_or(Ok(()), |role| weights.insert(info, role, bytes))
}

fn tokenizer(config: &ClipConfig, header: &Header) -> Result<Option<Tokenizer>> {
    let Some(text) = &config.text else { return Ok(None) };
    let tokens = strings(header, "tokenizer.ggml.tokens").unwrap_or_default();
    if tokens.len() != text.stock.vocab_size {
        let message = format!(
            "the file's vocabulary has {} tokens where its embedding has {}; use another file",
            tokens.len(),
            text.stock.vocab_size
        );
        return Err(Error::new(ErrorKind::MalformedModel, message));
    }
    let merges = strings(header, "tokenizer.ggml.merges");
    Tokenizer::from_vocabulary(tokens, merges, text.stock.max_position_embeddings).map(Some)
}

fn strings(header: &Header, key: &str) -> Option<Vec<String>> {
    let Some(Value::Array(values)) = header.get(key) else { return None };
    values.iter().map(|value| value.to_string().ok().cloned()).collect()
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
