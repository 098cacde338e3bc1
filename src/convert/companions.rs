//! The texts beside a checkpoint's weights.

/// The texts of the files next to a checkpoint's weights. If both configurations are given, the weights'
/// tensor names decide which of them is read.
#[derive(Clone, Debug, Default)]
pub struct Companions {
    /// The model's name, for `general.name`.
    pub name: String,
    /// `config.json` of a Hugging Face checkpoint.
    pub config: Option<String>,
    /// `open_clip_config.json`.
    pub open_clip_config: Option<String>,
    /// `preprocessor_config.json`. If this and the next are absent, images are prepared as for OpenAI's
    /// models.
    pub preprocessor_config: Option<String>,
    /// `processor_config.json`, which contains the image processor's settings in newer checkpoints.
    pub processor_config: Option<String>,
    /// `tokenizer.json` or `vocab.json`.
    pub tokenizer: Option<String>,
    /// `README.md`; its head may state the licence.
    pub model_card: Option<String>,
    /// `model.safetensors.index.json` or `pytorch_model.bin.index.json`, if the weights are in several
    /// files.
    pub index: Option<String>,
}
