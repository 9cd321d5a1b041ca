//! Models as directories: what loads, what is shared between instances, what is refused and how it is said.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clipsieve_models::{
    Backbone, Classifier, ClassifierHead, Detector, Device, HeadKind, ModelConfig, ModelError,
    Network, Parameters,
};
use clipsieve_models::{Pool, Precision};
use common::{assert_close, classifier, detector, fixture, golden, pixels, views};
use tch::{Kind, Tensor};

#[test]
fn instances_share_their_weights_and_agree() {
    let model = classifier(Precision::F32);
    let second = model.instance().unwrap();
    let (a, b) = (model.parameters().tensors(), second.parameters().tensors());
    assert_eq!(
        a.len(),
        86 - 1,
        "every tensor of the fixture and nothing else"
    );
    for (name, tensor) in &a {
        assert_eq!(tensor.data_ptr(), b[name].data_ptr(), "{name}");
    }
    let clip = pixels(4, 8, 64);
    let frames = views(&clip);
    assert_eq!(
        model.scores(&[&frames]).unwrap(),
        second.scores(&[&frames]).unwrap()
    );

    let detectors = (
        detector(Precision::F32),
        detector(Precision::F32).instance().unwrap(),
    );
    let folded = |d: &Detector| d.parameters().tensors()["model.0.conv.bias"].data_ptr();
    assert_ne!(
        folded(&detectors.0),
        folded(&detectors.1),
        "two loads are two sets of weights"
    );
    assert_eq!(
        folded(&detectors.0),
        folded(&detectors.0.instance().unwrap())
    );
    drop(model);
    second.scores(&[&frames]).unwrap();
}

#[test]
fn a_pool_of_instances_scores_from_many_threads() {
    let model = classifier(Precision::F32);
    let clip = pixels(9, 8, 64);
    let frames = views(&clip);
    let wanted = model.scores(&[&frames]).unwrap();
    let pool = Arc::new(Pool::new(vec![model.instance().unwrap(), model]).unwrap());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let lease = pool.acquire(Duration::from_secs(60)).unwrap();
                assert_eq!(lease.scores(&[&frames]).unwrap(), wanted);
            });
        }
    });
}

#[test]
fn gradients_reach_every_parameter() {
    let model = classifier(Precision::F32);
    let parameters = model.parameters().tensors();
    for tensor in parameters.values() {
        let _ = tensor.set_requires_grad(true);
    }
    model
        .logits(&golden("vjepa2-tiny", "pixel_values_videos"))
        .unwrap()
        .square()
        .sum(Kind::Float)
        .backward();
    for (name, tensor) in &parameters {
        let gradient = tensor.grad();
        assert!(gradient.defined(), "{name} has no gradient");
        // A constant added to all keys changes no attention.
        let idle = name.ends_with("k_proj.bias") || name.ends_with("attention.key.bias");
        assert!(
            idle || gradient.abs().max().double_value(&[]) > 0.0,
            "{name} has a gradient of zero"
        );
    }
}

#[test]
fn a_linear_head_is_read_under_both_names() {
    let source = fixture("vjepa2-tiny");
    let config = std::fs::read_to_string(source.join("config.json")).unwrap();
    let config = config.replacen('{', r#"{"head": "linear","#, 1);
    let frames = golden("vjepa2-tiny", "pixel_values_videos");
    let mean = golden("vjepa2-tiny", "mean_pooled");
    let (weight, bias) = (
        Tensor::randn([2, 48], (Kind::Float, tch::Device::Cpu)),
        Tensor::from_slice(&[0.3f32, -0.7]),
    );
    let wanted = mean.matmul(&weight.transpose(0, 1)) + &bias;

    // (the encoder's prefix, the head's)
    for (encoder, head) in [
        ("vjepa2.", "classifier."),
        ("", "head.linear."),
        ("backbone.model.", "head.linear."),
    ] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.json"), &config).unwrap();
        let mut tensors: Vec<(String, Tensor)> =
            Tensor::read_safetensors(source.join("model.safetensors"))
                .unwrap()
                .into_iter()
                .filter_map(|(name, tensor)| {
                    Some((
                        format!("{encoder}{}", name.strip_prefix("vjepa2.")?),
                        tensor,
                    ))
                })
                .collect();
        tensors.push((format!("{head}weight"), weight.shallow_clone()));
        tensors.push((format!("{head}bias"), bias.shallow_clone()));
        Tensor::write_safetensors(&tensors, dir.path().join("model.safetensors")).unwrap();
        let model = Classifier::load(dir.path(), &Device::cpu(), Precision::F32).unwrap();
        assert_close(&model.logits(&frames).unwrap(), &wanted, 1e-4);
    }
}

/// The fixture cut into a folder `backbone` with the encoder (under `encoder.`) and model folders with a head each,
/// which name it; the head of `attentive` is the fixture's, that of `linear` its last layer alone.
fn shared_folders(root: &Path) {
    let source = fixture("vjepa2-tiny");
    let config = std::fs::read_to_string(source.join("config.json")).unwrap();
    let tensors = Tensor::read_safetensors(source.join("model.safetensors")).unwrap();
    let write = |folder: &str, keep: &dyn Fn(&str) -> bool| {
        std::fs::create_dir_all(root.join(folder)).unwrap();
        let kept: Vec<_> = tensors
            .iter()
            .filter(|(name, _)| keep(name))
            .map(|(name, tensor)| (name.trim_start_matches("vjepa2."), tensor.shallow_clone()))
            .collect();
        Tensor::write_safetensors(&kept, root.join(folder).join("model.safetensors")).unwrap();
    };
    write("backbone", &|name| name.starts_with("vjepa2.encoder."));
    write("attentive", &|name| !name.starts_with("vjepa2."));
    write("linear", &|name| name.starts_with("classifier."));
    for head in ["attentive", "linear"] {
        let fields = format!(r#"{{"head": "{head}", "backbone": "../backbone/model.safetensors","#);
        let config = config.replacen('{', &fields, 1);
        std::fs::write(root.join(head).join("config.json"), config).unwrap();
    }
}

#[test]
fn a_shared_backbone_is_the_whole_checkpoint() {
    let root = tempfile::tempdir().unwrap();
    shared_folders(root.path());
    let cpu = Device::cpu();
    let whole = classifier(Precision::F32);
    let attentive = Classifier::load(root.path().join("attentive"), &cpu, Precision::F32).unwrap();
    let linear = Classifier::load(root.path().join("linear"), &cpu, Precision::F32).unwrap();
    let (one, two) = (pixels(3, 8, 64), pixels(8, 8, 64));
    let (one, two) = (views(&one), views(&two));
    let clips = [one.as_slice(), two.as_slice()];
    assert_eq!(
        attentive.scores(&clips).unwrap(),
        whole.scores(&clips).unwrap()
    );

    // One pass through the backbone serves both heads.
    let backbone = Backbone::load(root.path().join("linear"), &cpu, Precision::F32).unwrap();
    let features = backbone.instance().unwrap().features(&clips).unwrap();
    assert_eq!(features.clips(), 2);
    for model in ["attentive", "linear"] {
        let head = ClassifierHead::load(root.path().join(model), &cpu, Precision::F32).unwrap();
        let head = head.instance().unwrap();
        let alone = if model == "linear" {
            &linear
        } else {
            &attentive
        };
        assert_eq!(
            head.scores(&features).unwrap(),
            alone.scores(&clips).unwrap()
        );
    }

    // The hash knows the content, not the files.
    let hash = |dir: &Path| ModelConfig::read(dir).unwrap().backbone_sha256().unwrap();
    let shared = hash(&root.path().join("linear"));
    assert_eq!(shared, hash(&root.path().join("attentive")));
    assert_eq!(shared, hash(&fixture("vjepa2-tiny")));
    let config = root.path().join("linear/config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    let heads = text.replace("\"num_attention_heads\": 4", "\"num_attention_heads\": 2");
    assert_ne!(text, heads);
    std::fs::write(&config, heads).unwrap();
    assert_ne!(shared, hash(&root.path().join("linear")));
    let colours = text.replacen('{', r#"{"preprocess": {"mean": [0, 0, 0]},"#, 1);
    std::fs::write(&config, colours).unwrap();
    assert_ne!(shared, hash(&root.path().join("linear")));
}

/// What a test does to the tensors of a file.
type Edit<'a> = &'a dyn Fn(&mut Vec<(String, Tensor)>);
/// What a test does to a folder.
type Spoil<'a> = &'a dyn Fn(&Path);

#[test]
fn a_shared_backbone_may_bring_a_head_of_its_own() {
    let root = tempfile::tempdir().unwrap();
    shared_folders(root.path());
    let checkpoint = fixture("vjepa2-tiny").join("model.safetensors");
    std::fs::copy(checkpoint, root.path().join("backbone/model.safetensors")).unwrap();
    let linear = root.path().join("linear");
    let file = linear.join("model.safetensors");
    let write = |names: [&str; 2], more: Option<&str>| {
        let numbers = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, tch::Device::Cpu));
        let mut tensors = vec![(names[0], numbers(&[2, 48])), (names[1], numbers(&[2]))];
        tensors.extend(more.map(|name| (name, numbers(&[1]))));
        Tensor::write_safetensors(&tensors, &file).unwrap();
    };
    let head = ["head.linear.weight", "head.linear.bias"];
    let cpu = Device::cpu();
    let clip = pixels(3, 8, 64);
    write(head, None);
    let model = Classifier::load(&linear, &cpu, Precision::F32).unwrap();
    // Its own head, which knows nothing, and not the checkpoint's.
    assert_eq!(model.scores(&[&views(&clip)]).unwrap(), [[0.5, 0.5]]);
    assert!(ClassifierHead::load(&linear, &cpu, Precision::F32).is_ok());
    assert!(Backbone::load(&linear, &cpu, Precision::F32).is_ok());
    // What its own file holds beyond the configuration is still refused.
    write(head, Some("head.norm.weight"));
    let error = Classifier::load(&linear, &cpu, Precision::F32).err();
    let message = error.unwrap().to_string();
    assert!(
        message.contains("nothing reads head.norm.weight (let"),
        "{message}"
    );
}

#[test]
fn a_shared_backbone_that_does_not_fit_names_its_file() {
    let load = |root: &Path| {
        let loaded = Classifier::load(root.join("linear"), &Device::cpu(), Precision::F32);
        loaded.err().unwrap().to_string()
    };
    let change = |root: &Path, change: Edit<'_>| {
        let file = root.join("backbone/model.safetensors");
        let mut tensors = Tensor::read_safetensors(&file).unwrap();
        change(&mut tensors);
        Tensor::write_safetensors(&tensors, &file).unwrap();
    };
    let norm = "encoder.layernorm.bias";
    let cases: [(Spoil<'_>, &[&str]); 4] = [
        (
            &|root| std::fs::remove_file(root.join("backbone/model.safetensors")).unwrap(),
            &[
                "linear: its config.json names the backbone",
                "backbone/model.safetensors, which is not there",
            ],
        ),
        (
            &|root| {
                change(root, &|tensors| {
                    for (name, tensor) in tensors {
                        if name == norm {
                            *tensor = Tensor::zeros([7], (Kind::Float, tch::Device::Cpu));
                        }
                    }
                })
            },
            &["encoder.layernorm.bias: found shape [7], expected [48]"],
        ),
        (
            &|root| change(root, &|tensors| tensors.retain(|(name, _)| name != norm)),
            &[
                "encoder.layernorm.bias: there is no such tensor, nor in",
                "backbone/model.safetensors",
            ],
        ),
        (
            &|root| {
                change(root, &|tensors| {
                    let bias = Tensor::zeros([2], (Kind::Float, tch::Device::Cpu));
                    tensors.push(("classifier.bias".into(), bias));
                })
            },
            &["backbone/model.safetensors: classifier.bias: is here and in model.safetensors of"],
        ),
    ];
    for (spoil, expected) in cases {
        let root = tempfile::tempdir().unwrap();
        shared_folders(root.path());
        spoil(root.path());
        let message = load(root.path());
        for words in expected {
            assert!(message.contains(words), "{message}");
        }
    }
}

/// The fixture with its tensors changed by `change`; the error of loading it.
fn damaged(change: impl Fn(&mut Vec<(String, Tensor)>)) -> String {
    let source = fixture("vjepa2-tiny");
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(source.join("config.json"), dir.path().join("config.json")).unwrap();
    let mut tensors = Tensor::read_safetensors(source.join("model.safetensors")).unwrap();
    change(&mut tensors);
    Tensor::write_safetensors(&tensors, dir.path().join("model.safetensors")).unwrap();
    Classifier::load(dir.path(), &Device::cpu(), Precision::F32)
        .err()
        .unwrap()
        .to_string()
}

#[test]
fn misfits_are_reported_together() {
    let name = "vjepa2.encoder.layer.1.mlp.fc1.weight";
    let message = damaged(|tensors| {
        for (there, tensor) in tensors.iter_mut() {
            match there.as_str() {
                "vjepa2.encoder.layer.1.mlp.fc1.weight" => *there = name.replace("fc1", "fc_1"),
                "classifier.bias" => *tensor = Tensor::zeros([3], (Kind::Float, tch::Device::Cpu)),
                _ => {}
            }
        }
    });
    assert!(
        message.contains(&format!(
            "{name}: there is no such tensor; the nearest name is"
        )),
        "{message}"
    );
    assert!(message.contains("layer.1.mlp.fc_1.weight"), "{message}");
    assert!(
        message.contains("classifier.bias: found shape [3], expected [2]"),
        "{message}"
    );

    let message = damaged(|tensors| tensors.retain(|(there, _)| !there.starts_with("pooler.")));
    assert!(
        message.contains("\"head\": \"linear\" in config.json"),
        "{message}"
    );
    let message = damaged(|tensors| tensors.retain(|(there, _)| there == "classifier.bias"));
    assert!(
        message.contains("vjepa2.encoder.layer.0.norm1.weight: there is no such tensor"),
        "{message}"
    );
    assert!(message.contains("and 77 more"), "{message}");
}

#[test]
fn a_configuration_of_a_smaller_network_is_refused() {
    let root = tempfile::tempdir().unwrap();
    shared_folders(root.path());
    let cpu = Device::cpu();
    let (attentive, linear) = (root.path().join("attentive"), root.path().join("linear"));
    let backbone = |dir: &Path| Backbone::load(dir, &cpu, Precision::F32).err();
    let head = |dir: &Path| ClassifierHead::load(dir, &cpu, Precision::F32).err();
    let whole = |dir: &Path| Classifier::load(dir, &cpu, Precision::F32).err();
    let says = |error: Option<ModelError>, expected: &str| {
        let message = error.unwrap().to_string();
        assert!(
            message.contains("the weights hold more than config.json says: nothing reads")
                && message.contains(expected),
            "{message}"
        );
    };
    // With each of these changes of `attentive`'s configuration: (from, to, of the encoder, of the head).
    let layer = "encoder.layer.1.attention.key.bias, encoder.layer.1.attention.key.weight, \
                 encoder.layer.1.attention.proj.bias and 13 more";
    let biases = "encoder.layer.0.attention.key.bias, encoder.layer.0.attention.query.bias, \
                  encoder.layer.0.attention.value.bias and 3 more";
    let pooler = "pooler.self_attention_layers.1.";
    let config = attentive.join("config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    for (from, to, encoder, pooler) in [
        (
            "\"num_hidden_layers\": 2",
            "\"num_hidden_layers\": 1",
            Some(layer),
            None,
        ),
        (
            "\"qkv_bias\": true",
            "\"qkv_bias\": false",
            Some(biases),
            None,
        ),
        (
            "\"num_pooler_layers\": 2",
            "\"num_pooler_layers\": 1",
            None,
            Some(pooler),
        ),
        (
            "\"head\": \"attentive\"",
            "\"head\": \"linear\"",
            None,
            Some("pooler.cross_attention_layer."),
        ),
    ] {
        let smaller = text.replacen(from, to, 1);
        assert_ne!(smaller, text, "{from}");
        std::fs::write(&config, smaller).unwrap();
        says(whole(&attentive), encoder.or(pooler).unwrap());
        // Whoever loads a part is told of that part alone.
        for (part, expected) in [(backbone(&attentive), encoder), (head(&attentive), pooler)] {
            match expected {
                Some(expected) => says(part, expected),
                None => assert!(part.is_none(), "{to}: {part:?}"),
            }
        }
    }
    assert!(whole(&linear).is_none());

    // What published checkpoints hold beside, and what is not of the network, is left alone.
    let file = linear.join("model.safetensors");
    let mut tensors = Tensor::read_safetensors(&file).unwrap();
    for name in [
        "predictor.layer.0.mlp.fc1.weight",
        "encoder.embeddings.mask_token",
        "neck.weight",
    ] {
        let other = Tensor::zeros([1], (Kind::Float, tch::Device::Cpu));
        tensors.push((name.into(), other));
    }
    Tensor::write_safetensors(&tensors, &file).unwrap();
    assert!(whole(&linear).is_none());

    let source = fixture("yolov8n");
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(source.join("config.json"), dir.path().join("config.json")).unwrap();
    let mut tensors = Tensor::read_safetensors(source.join("model.safetensors")).unwrap();
    let mut put = |name: &str| {
        let other = Tensor::zeros([1], (Kind::Float, tch::Device::Cpu));
        tensors.push((name.into(), other));
        Tensor::write_safetensors(&tensors, dir.path().join("model.safetensors")).unwrap();
        Detector::load(dir.path(), &cpu, Precision::F32).err()
    };
    for name in [
        "model.0.bn.num_batches_tracked",
        "model.22.cv4.0.0.conv.weight",
        "model.22.proto.upsample.bias",
    ] {
        assert!(put(name).is_none(), "{name}");
    }
    says(put("model.2.m.1.cv1.conv.weight"), "model.2.m.1.cv1");
}

#[test]
fn truncated_weights_are_refused() {
    let source = fixture("vjepa2-tiny");
    let bytes = std::fs::read(source.join("model.safetensors")).unwrap();
    for kept in [0, 7, 100, bytes.len() / 2, bytes.len() - 1] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::copy(source.join("config.json"), dir.path().join("config.json")).unwrap();
        std::fs::write(dir.path().join("model.safetensors"), &bytes[..kept]).unwrap();
        let error = Classifier::load(dir.path(), &Device::cpu(), Precision::F32)
            .err()
            .unwrap();
        assert!(
            matches!(error, ModelError::Weights { .. }),
            "{kept}: {error}"
        );
        assert!(error.to_string().contains("model.safetensors"), "{error}");
    }
}

#[test]
fn a_model_of_the_other_kind_is_refused() {
    let error = Detector::load(fixture("vjepa2-tiny"), &Device::cpu(), Precision::F32)
        .err()
        .unwrap();
    assert!(
        error
            .to_string()
            .ends_with("is a vjepa2 model, but a detector model is needed here"),
        "{error}"
    );
    let error = Classifier::load(fixture("yolov8n"), &Device::cpu(), Precision::F32)
        .err()
        .unwrap();
    assert!(matches!(error, ModelError::WrongTask { .. }), "{error}");
}

#[test]
fn fresh_weights_build_any_size() {
    let mut config = ModelConfig::read(fixture("vjepa2-tiny")).unwrap();
    let Network::VJepa2 {
        config: sizes,
        head,
        preprocess,
    } = &mut config.network
    else {
        panic!("the fixture is a classifier");
    };
    (sizes.layers, sizes.crop_px, preprocess.size, *head) = (3, 32, 32, HeadKind::Linear);
    config.labels.push("third".into());
    let parameters = Parameters::random(&Device::cpu(), Precision::F32);
    let model = Classifier::build(config, parameters, Device::cpu(), Precision::F32).unwrap();
    let clip = pixels(5, 4, 32);
    assert_eq!(model.scores(&[&views(&clip)]).unwrap()[0].len(), 3);
}

#[test]
fn a_fused_checkpoint_gives_the_same() {
    // Folding is done at load; what is held afterwards is a fused checkpoint.
    let model = detector(Precision::F32);
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(
        fixture("yolov8n").join("config.json"),
        dir.path().join("config.json"),
    )
    .unwrap();
    let held: Vec<(String, Tensor)> = model.parameters().tensors().into_iter().collect();
    assert_eq!(
        held.len(),
        2 * 63,
        "63 convolutions, each a weight and a bias"
    );
    Tensor::write_safetensors(&held, dir.path().join("model.safetensors")).unwrap();
    let fused = Detector::load(dir.path(), &Device::cpu(), Precision::F32).unwrap();
    let images = golden("yolov8n", "images");
    assert_close(
        &fused.raw(&images).unwrap(),
        &model.raw(&images).unwrap(),
        1e-6,
    );
    assert_eq!(fused.parameters().count(), model.parameters().count());
}
