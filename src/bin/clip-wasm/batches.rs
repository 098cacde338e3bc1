//! Embeds inputs in batches. One thread reads files and lines ahead; what has arrived is embedded together, so that a
//! long list is fast, and a line of a pipe is answered as soon as it is there.

use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, JoinHandle};

use clip_wasm::decode::DecodeOptions;
use clip_wasm::error::{Error, Result};
use clip_wasm::{ClipEncoder, Embedding, Limits};

use crate::inputs::{Content, Line};

/// How many inputs are embedded together, at most; and as many are read ahead.
const MOST_TOGETHER: usize = 16;

/// An input as it was given, and its embedding.
pub struct Embedded {
    pub text: String,
    pub embedding: Result<Embedding>,
}

/// An input that has been read.
struct Read {
    text: String,
    content: Result<Content>,
}

/// How inputs are embedded.
#[derive(Clone, Copy)]
pub struct Embedder<'a> {
    pub encoder: &'a ClipEncoder,
    pub options: DecodeOptions,
    pub normalize: bool,
    pub limits: Limits,
}

impl Embedder<'_> {
    /// Gives each input's embedding to `take`, in order, until it returns `false`.
    ///
    /// # Errors
    /// That of `inputs`, or of `take`. An input that cannot be read or embedded gives its error to `take`.
    pub fn each(
        self,
        inputs: impl Iterator<Item = Result<Line>> + Send + 'static,
        mut take: impl FnMut(Embedded) -> Result<bool>,
    ) -> Result<()> {
        let (arrived, reading) = read_ahead(inputs, self.limits);
        while let Ok(first) = arrived.recv() {
            let batch = std::iter::once(first).chain(arrived.try_iter().take(MOST_TOGETHER - 1));
            let mut failure = None;
            let mut batch_inputs = Vec::new();
            for input in batch {
                match input {
                    Ok(input) => batch_inputs.push(input),
                    Err(error) => failure = Some(error),
                }
            }
            for embedded in self.embed(batch_inputs) {
                if !take(embedded)? {
                    return Ok(());
                }
            }
            if let Some(error) = failure {
                return Err(error);
            }
        }
        match reading.join() {
            Ok(()) => Ok(()),
            Err(panic) => resume_unwind(panic), // or inputs would be missing without a word
        }
    }

    fn embed(self, inputs: Vec<Read>) -> Vec<Embedded> {
        let (mut texts, mut images, mut names) = (Vec::new(), Vec::new(), Vec::new());
        /// Where an input's embedding comes from.
        enum Kind {
            Text,
            Image,
            Failed(Error),
        }
        let mut places = Vec::new();
        for Read { text, content } in inputs {
            let kind = match content {
                Ok(Content::Text(text)) => {
                    texts.push(text);
                    Kind::Text
                }
                Ok(Content::Image { name, bytes }) => {
                    names.push(name);
                    images.push(bytes);
                    Kind::Image
                }
                Err(error) => Kind::Failed(error),
            };
            places.push((text, kind));
        }
        let Self { encoder, options, normalize, .. } = self;
        // If all of them fail for one reason, such as a tower that is not there, each still gets its own error.
        let texts = encoder.embed_texts(&texts, normalize).unwrap_or_else(|_| {
            texts.iter().map(|text| encoder.embed_text(text, normalize)).collect()
        });
        let embed = |image: &Vec<u8>| encoder.embed_image_with(image, options, normalize);
        let images = encoder
            .embed_images(&images, options, normalize)
            .unwrap_or_else(|_| images.iter().map(embed).collect());
        let mut texts = texts.into_iter();
        let mut images = images.into_iter().zip(names);
        let embedded = places.into_iter().map(|(text, kind)| {
            let embedding = match kind {
                Kind::Text => texts.next().expect("one for each text"),
                Kind::Image => {
                    let (embedding, name) = images.next().expect("one for each image");
                    embedding.map_err(|error| error.context(name))
                }
                Kind::Failed(error) => Err(error),
            };
            Embedded { text, embedding }
        });
        embedded.collect()
    }
}

/// Reads inputs in a thread of its own, some ahead. The thread ends when nobody takes them any more.
fn read_ahead(
    inputs: impl Iterator<Item = Result<Line>> + Send + 'static,
    limits: Limits,
) -> (Receiver<Result<Read>>, JoinHandle<()>) {
    let (sender, receiver) = sync_channel(MOST_TOGETHER);
    let reading = thread::spawn(move || {
        for line in inputs {
            let read = line.map(|Line { text, input }| {
                let content = input.and_then(|input| input.read(&limits));
                Read { text, content }
            });
            if sender.send(read).is_err() {
                return;
            }
        }
    });
    (receiver, reading)
}
