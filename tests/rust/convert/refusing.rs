//! What is refused, and after how few bytes.

use super::*;

/// The error with which a header is refused, before any byte of a tensor is read.
fn refused(source: &Source) -> Error {
    let mut converter = Converter::new(source.companions.clone(), file_type("q8_0"), None);
    let sink = &mut |_, _: &[u8]| panic!("the sink was given something");
    let error = converter.push(source.header(0), sink).unwrap_err();
    assert_eq!(converter.push(&[0], sink).unwrap_err().kind(), ErrorKind::Internal);
    assert_eq!(converter.finish().unwrap_err().kind(), ErrorKind::Internal);
    error
}

#[test]
fn wrong_checkpoints_are_refused_at_their_header() {
    let source = || Source::open("tiny-hf");
    let without = |name: &str| source().with_tensors(|tensors| tensors.retain(|(n, _)| n != name));
    let renamed = |to: &str| source().with_tensors(|tensors| tensors[0].0 = to.into());
    let bias = "vision_model.post_layernorm.bias";
    let integers = source().with_tensors(|tensors| {
        let (_, view) = tensors.iter_mut().find(|(name, _)| name == bias).unwrap();
        *view = TensorView::new(Dtype::I32, view.shape().to_vec(), view.data()).unwrap();
    });
    let lacking = Source::open("tiny-hf-sharded").with_companions(|companions| {
        let index = companions.index.as_mut().unwrap();
        *index = index.replace(bias, "other");
    });
    use ErrorKind::{MalformedModel, MissingTensor, UnsupportedModel};
    let sources = [
        (without(bias), MissingTensor, bias),
        (lacking, MissingTensor, bias),
        (integers, UnsupportedModel, "post_layernorm.bias is stored as I32"),
        (renamed("logit_bias"), UnsupportedModel, "SigLIP"),
        (renamed("visual.trunk.stem.0.conv.weight"), UnsupportedModel, "MobileCLIP"),
        (source().with_config(|c| c["model_type"] = json!("siglip")), UnsupportedModel, "SigLIP"),
        (
            source().with_config(|c| c["projection_dim"] = json!(65)),
            MalformedModel,
            "projection.weight has shape [64, 64]",
        ),
        (
            source().with_config(|c| c["text_config"]["num_hidden_layers"] = json!(3)),
            MissingTensor,
            "text_model.encoder.layers.2.",
        ),
        (source().with_companions(|c| c.config = None), MalformedModel, "no config.json"),
        (
            source().with_companions(|c| c.config = Some("{".into())),
            MalformedModel,
            "config.json: EOF",
        ),
        (source().with_companions(|c| c.tokenizer = None), MalformedModel, "no tokenizer.json"),
        (
            source().with_companions(|c| c.tokenizer = Some("{\"a\":0}".into())),
            MalformedModel,
            "has no <|endoftext|>",
        ),
    ];
    for (source, kind, says) in &sources {
        let error = refused(source);
        assert_eq!(error.kind(), *kind, "{error}");
        assert!(error.to_string().contains(says), "{error} does not say {says:?}");
    }
    let outcome = "each refused by name when its header is read";
    record("inputs", "invalid checkpoints", &sources.len().to_string(), outcome);
}

#[test]
fn what_open_clip_computes_otherwise_is_refused_by_name() {
    let source = Source::open("tiny-open_clip");
    let with = |part: &str, key: &str, value: Value| {
        source.clone().with_companions(|companions| {
            let text = companions.open_clip_config.as_mut().unwrap();
            let mut config: Value = serde_json::from_str(text).unwrap();
            let model = &mut config["model_cfg"];
            let place = if part.is_empty() { model } else { &mut model[part] };
            place[key] = value.clone();
            *text = config.to_string();
        })
    };
    let mut count = 0;
    for tower in ["vision_cfg", "text_cfg"] {
        for (key, value) in [
            ("ls_init_value", json!(1e-5)),
            ("qk_norm", json!(true)),
            ("scaled_cosine_attn", json!(true)),
            ("scale_heads", json!(true)),
            ("scale_attn_inner", json!(true)),
            ("scale_attn", json!(true)),
            ("scale_fc", json!(true)),
            ("block_type", json!("custom")),
            ("norm_kwargs", json!({"eps": 1e-6})),
            ("act_kwargs", json!({"approximate": "tanh"})),
            ("final_ln_after_pool", json!(true)),
            ("pool_type", json!("last")),
            ("something_new", json!(1)),
        ] {
            let error = refused(&with(tower, key, value));
            assert_eq!(error.kind(), ErrorKind::UnsupportedModel, "{tower} {key}: {error}");
            assert!(error.to_string().contains(&format!("sets {key}")), "{tower} {key}: {error}");
            count += 1;
        }
    }
    for (part, key, value) in [
        ("", "multimodal_cfg", json!({"width": 8})),
        ("", "init_logit_bias", json!(-10)),
        ("text_cfg", "hf_tokenizer_name", json!("bert-base-uncased")),
        ("text_cfg", "tokenizer_kwargs", json!({"clean": "canonicalize"})),
        ("vision_cfg", "no_ln_pre", json!(true)),
    ] {
        let error = refused(&with(part, key, value));
        assert!(error.to_string().contains(&format!("sets {key}")), "{key}: {error}");
        count += 1;
    }
    // Settings that are off, or that do not affect vectors, are accepted.
    for (part, key, value) in [
        ("vision_cfg", "ls_init_value", json!(null)),
        ("vision_cfg", "patch_dropout", json!(0.5)),
        ("text_cfg", "qk_norm", json!(false)),
        ("text_cfg", "tokenizer_kwargs", json!({})),
        ("text_cfg", "pad_id", json!(1)),
        ("", "custom_text", json!(false)),
    ] {
        with(part, key, value).convert(file_type("q8_0"), &[1 << 16]).expect(key);
    }
    record(
        "inputs",
        "settings of open_clip that change what is computed",
        &count.to_string(),
        "each refused by name",
    );
}

#[test]
fn files_that_are_not_whole_are_truncated() {
    let mut source = Source::open("tiny-hf");
    let whole = std::mem::take(&mut source.files[0]);
    let lengths = [12, 5000, whole.len() / 2, whole.len() - 1];
    for length in lengths {
        source.files[0] = whole[..length].to_vec();
        let error = source.convert(file_type("q8_0"), &[4096]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TruncatedModel, "{length} bytes: {error}");
    }
    source.files[0] = [&whole[..], &[0]].concat();
    let error = source.convert(file_type("q8_0"), &[4096]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MalformedModel, "a byte more: {error}");

    let mut shards = Source::open("tiny-hf-sharded");
    let last = shards.files.pop().unwrap();
    let error = shards.convert(file_type("q8_0"), &[4096]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TruncatedModel, "a shard too few: {error}");
    shards.files.extend([last.clone(), last]);
    let error = shards.convert(file_type("q8_0"), &[4096]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MalformedModel, "a shard twice: {error}");

    let nothing = Converter::new(source.companions, file_type("q8_0"), None);
    assert_eq!(nothing.finish().unwrap_err().kind(), ErrorKind::TruncatedModel);
    let tried = (lengths.len() + 4).to_string();
    record("inputs", "checkpoints with missing or additional tensors", &tried, "each refused");
}

#[test]
fn what_the_sink_cannot_take_ends_the_conversion() {
    let source = Source::open("tiny-hf");
    let mut converter = Converter::new(source.companions, file_type("q8_0"), None);
    let full = || std::io::Error::from(std::io::ErrorKind::StorageFull);
    let error = converter.push(&source.files[0], &mut |_, _| Err(full().into())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert_eq!(converter.end_file().unwrap_err().kind(), ErrorKind::Internal);
}
