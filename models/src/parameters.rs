//! A network's parameters by name, held once however many networks use them.
//!
//! A network is built by asking a [`Scope`] for its tensors by name and shape. The first time, they are read from
//! [`Weights`] (or drawn at random), converted to the wanted precision, put on the device and kept here; a network built
//! later from [`Parameters::share`] gets the same storage. While weights are read, problems are collected instead of
//! stopping at the first: the network gets an empty tensor in place of a bad one, and [`Parameters::finish`] refuses the
//! whole with one report. So a network's code names every tensor exactly once. What the files hold of a network beyond that
//! is refused too: a configuration that describes a smaller network than the weights would score wrongly without a word.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use tch::{Kind, Tensor};

use crate::config::CONFIG_FILE;
use crate::device::{Device, Precision};
use crate::error::{ModelError, Result};
use crate::weights::Weights;

/// Standard deviation of freshly drawn matrices, V-JEPA 2's `initializer_range`.
const INITIAL_STD: f64 = 0.02;
/// So many missing tensors get a nearest name, which takes time to find.
const MAX_NEAREST: usize = 64;
/// So many tensors that nobody asked for are named.
const SHOWN_UNREAD: usize = 3;
/// Parts of names that checkpoints hold within a network and no network here asks for: a count of steps in training, the
/// constants 0 to 15 of YOLOv8's decoding, what training puts in place of hidden tokens, and what YOLOv8 has beside its
/// boxes for masks and key points (`model.22.cv4`, `model.22.proto`). (V-JEPA 2's predictor lies beside the encoder.)
const IDLE: [&str; 5] = ["num_batches_tracked", "dfl", "mask_token", "cv4", "proto"];

/// Named tensors on one device, in one precision.
pub struct Parameters {
    device: tch::Device,
    kind: Kind,
    held: RefCell<BTreeMap<String, Tensor>>,
    origin: Origin,
    problems: RefCell<Vec<Problem>>,
    /// The names that were read from files, kept or not.
    read: RefCell<BTreeSet<String>>,
    /// The scopes in which every stored tensor is to be read; see [`Scope::own`].
    owned: RefCell<Vec<Owned>>,
}

/// A scope that belongs to a network.
struct Owned {
    path: String,
    /// Whether what a shared backbone's file holds there does so too.
    with_backbone: bool,
}

impl Owned {
    fn holds(&self, name: &str, weights: &Weights) -> bool {
        let rest = name.strip_prefix(self.path.as_str());
        rest.is_some_and(|rest| rest.starts_with('.'))
            && (self.with_backbone || !weights.is_of_backbone(name))
    }
}

/// Where a tensor comes from that is not held yet.
enum Origin {
    File(Weights),
    Random,
    Nowhere,
}

/// Why a tensor could not be had.
enum Problem {
    /// The files hold none of this name.
    Missing(String),
    /// Anything else, in words.
    Other(String),
}

impl Parameters {
    /// Parameters that are read from files as a network asks for them.
    pub fn from_weights(weights: Weights, device: &Device, precision: Precision) -> Self {
        Self::new(Origin::File(weights), device, precision)
    }

    /// Freshly drawn parameters: matrices normal with deviation 0.02, scales one, biases zero. The draw follows
    /// libtorch's global seed (`tch::manual_seed`).
    pub fn random(device: &Device, precision: Precision) -> Self {
        Self::new(Origin::Random, device, precision)
    }

    /// Parameters that are there already, by name: those that are being learnt, or their average. A network that wants
    /// one in another precision gets it converted, as part of the graph through which gradients flow back; nothing is
    /// kept of what is converted.
    pub fn over(tensors: &BTreeMap<String, Tensor>, device: &Device, precision: Precision) -> Self {
        let held = tensors
            .iter()
            .map(|(name, tensor)| (name.clone(), tensor.shallow_clone()))
            .collect();
        Parameters {
            held: RefCell::new(held),
            ..Self::new(Origin::Nowhere, device, precision)
        }
    }

    fn new(origin: Origin, device: &Device, precision: Precision) -> Self {
        Parameters {
            device: device.tch(),
            kind: precision.kind(),
            held: RefCell::default(),
            origin,
            problems: RefCell::default(),
            read: RefCell::default(),
            owned: RefCell::default(),
        }
    }

    /// The scope of all names.
    pub fn root(&self) -> Scope<'_> {
        Scope {
            parameters: self,
            path: String::new(),
        }
    }

    /// Closes the files, once every network has been built.
    ///
    /// # Errors
    /// [`ModelError::Weights`] with all problems that were met; or, where there were none, with tensors that the files
    /// hold of a network (see [`Scope::own`]) and it did not ask for.
    pub fn finish(mut self) -> Result<Self> {
        let mut problems = self.problems.take();
        if problems.is_empty() {
            problems.extend(self.unread().map(Problem::Other));
        }
        if problems.is_empty() {
            self.origin = Origin::Nowhere;
            return Ok(self);
        }
        // Only now is it known which of the stored names belong to nobody.
        let held = self.held.borrow();
        let told = problems
            .into_iter()
            .enumerate()
            .map(|(i, problem)| match problem {
                Problem::Missing(name) => match &self.origin {
                    Origin::File(weights) if i < MAX_NEAREST => {
                        weights.missing(&name, |there| held.contains_key(there))
                    }
                    _ => format!("{name}: there is no such tensor"),
                },
                Problem::Other(words) => words,
            });
        let problems = told.collect();
        let file = match &self.origin {
            Origin::File(weights) => weights.dir().to_path_buf(),
            Origin::Random | Origin::Nowhere => "parameters".into(),
        };
        Err(ModelError::Weights { file, problems })
    }

    /// What is to be said of tensors that are stored in an owned scope and were not read.
    fn unread(&self) -> Option<String> {
        let Origin::File(weights) = &self.origin else {
            return None;
        };
        let (read, owned) = (self.read.borrow(), self.owned.borrow());
        let unread: Vec<&str> = weights
            .names()
            .filter(|name| owned.iter().any(|scope| scope.holds(name, weights)))
            .filter(|name| !read.contains(*name))
            .filter(|name| !name.split('.').any(|part| IDLE.contains(&part)))
            .collect();
        let named = unread.len().min(SHOWN_UNREAD);
        let rest = match unread.len() - named {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        (!unread.is_empty()).then(|| {
            format!(
                "the weights hold more than {CONFIG_FILE} says: nothing reads {}{rest} (let its \
                 num_hidden_layers, num_pooler_layers, qkv_bias, head or scale say what the weights are)",
                unread[..named].join(", ")
            )
        })
    }

    /// The same tensors again (no copy), for another instance.
    pub fn share(&self) -> Self {
        let held = self.held.borrow();
        let shared = held
            .iter()
            .map(|(name, tensor)| (name.clone(), tensor.shallow_clone()));
        Parameters {
            device: self.device,
            kind: self.kind,
            held: RefCell::new(shared.collect()),
            origin: Origin::Nowhere,
            problems: RefCell::default(),
            read: RefCell::default(),
            owned: RefCell::default(),
        }
    }

    /// Every tensor held, by name (no copy): for an optimiser, or to save them.
    pub fn tensors(&self) -> BTreeMap<String, Tensor> {
        self.share().held.into_inner()
    }

    /// How many numbers are held.
    pub fn count(&self) -> u64 {
        self.held.borrow().values().map(|t| t.numel() as u64).sum()
    }

    /// The bytes that the held tensors take on the device.
    pub fn bytes(&self) -> u64 {
        let bytes = |t: &Tensor| (t.numel() * t.kind().elt_size_in_bytes()) as u64;
        self.held.borrow().values().map(bytes).sum()
    }

    fn note(&self, problem: String) {
        self.problems.borrow_mut().push(Problem::Other(problem));
    }

    /// A tensor from where tensors come from, on the CPU, in whatever type it has there.
    fn fetch(&self, name: &str, shape: &[i64]) -> Option<Tensor> {
        self.read.borrow_mut().insert(name.to_owned());
        let fetched = match &self.origin {
            Origin::File(weights) if !weights.contains(name) => {
                self.problems
                    .borrow_mut()
                    .push(Problem::Missing(name.to_owned()));
                return None;
            }
            Origin::File(weights) => weights.get(name, shape),
            Origin::Random => drawn(name, shape),
            Origin::Nowhere => Err(ModelError::weights(
                "".as_ref(),
                format!("{name}: is not held"),
            )),
        };
        match fetched {
            Ok(tensor) => Some(tensor),
            Err(ModelError::Weights { problems, .. }) => {
                problems.into_iter().for_each(|problem| self.note(problem));
                None
            }
            Err(other) => {
                self.note(format!("{name}: {other}"));
                None
            }
        }
    }

    fn get(&self, name: String, shape: &[i64], kind: Kind) -> Tensor {
        if let Some(tensor) = self.held.borrow().get(&name) {
            return self.held_as(&name, tensor, shape, kind);
        }
        match self.fetch(&name, shape) {
            Some(tensor) => self.keep(name, tensor, kind),
            None => empty(),
        }
    }

    /// A held tensor, converted if it is to be.
    fn held_as(&self, name: &str, tensor: &Tensor, shape: &[i64], kind: Kind) -> Tensor {
        if tensor.size() != shape {
            let found = tensor.size();
            self.note(format!("{name}: found shape {found:?}, expected {shape:?}"));
            return empty();
        }
        match tensor.f_to_kind(kind) {
            Ok(tensor) => tensor,
            Err(error) => {
                self.note(format!("{name}: {}", ModelError::from(error)));
                empty()
            }
        }
    }

    fn keep(&self, name: String, tensor: Tensor, kind: Kind) -> Tensor {
        // Converted first, so that fewer bytes go to the device.
        let placed = tensor.f_to_kind(kind).and_then(|t| t.f_to(self.device));
        match placed {
            Ok(tensor) => {
                let shared = tensor.shallow_clone();
                self.held.borrow_mut().insert(name, tensor);
                shared
            }
            Err(error) => {
                self.note(format!("{name}: {}", ModelError::from(error)));
                empty()
            }
        }
    }
}

/// A place in the tree of parameter names, such as `encoder.layer.3`.
pub struct Scope<'a> {
    parameters: &'a Parameters,
    path: String,
}

impl Scope<'_> {
    /// The scope below this one.
    pub fn pp(&self, name: impl std::fmt::Display) -> Self {
        Scope {
            parameters: self.parameters,
            path: self.name(name),
        }
    }

    fn name(&self, name: impl std::fmt::Display) -> String {
        if self.path.is_empty() {
            name.to_string()
        } else {
            format!("{}.{name}", self.path)
        }
    }

    /// A tensor of this shape in the model's precision; an empty one, and a problem noted, when it cannot be had.
    pub fn tensor(&self, name: &str, shape: &[i64]) -> Tensor {
        self.parameters
            .get(self.name(name), shape, self.parameters.kind)
    }

    /// As [`Scope::tensor`], but held in f32 whatever the model's precision.
    pub fn tensor_f32(&self, name: &str, shape: &[i64]) -> Tensor {
        self.parameters.get(self.name(name), shape, Kind::Float)
    }

    /// A tensor in f32 on the CPU that is not kept, to make others from; `None`, and a problem noted, when it cannot
    /// be had.
    pub fn raw(&self, name: &str, shape: &[i64]) -> Option<Tensor> {
        let held = self
            .parameters
            .held
            .borrow()
            .get(&self.name(name))
            .filter(|held| held.size() == shape)
            .map(Tensor::shallow_clone);
        let tensor = match held {
            Some(held) => held,
            None => self.parameters.fetch(&self.name(name), shape)?,
        };
        match tensor.f_to_kind(Kind::Float) {
            Ok(tensor) => Some(tensor),
            Err(error) => {
                self.parameters
                    .note(format!("{}: {error}", self.name(name)));
                None
            }
        }
    }

    /// Keeps a tensor that was made from others, in the model's precision on its device.
    pub fn keep(&self, name: &str, tensor: Tensor) {
        let kind = self.parameters.kind;
        let _ = self.parameters.keep(self.name(name), tensor, kind);
    }

    /// Notes a failure to make a tensor.
    pub(crate) fn note(&self, name: &str, error: &ModelError) {
        self.parameters
            .note(format!("{}: {error}", self.name(name)));
    }

    /// Whether a tensor of this name is held or stored.
    pub fn has(&self, name: &str) -> bool {
        let name = self.name(name);
        let stored =
            matches!(&self.parameters.origin, Origin::File(weights) if weights.contains(&name));
        stored || self.parameters.held.borrow().contains_key(&name)
    }

    /// Says that all that is stored in this scope belongs to the network that is being built, which is to read all of it:
    /// [`Parameters::finish`] refuses what is left over.
    pub fn own(&self) {
        self.note_owned(true);
    }

    /// As [`Scope::own`], of a network that lies in the model's own files: a backbone's file that it shares may hold
    /// another one of these names, which nobody reads.
    pub fn own_beside_backbone(&self) {
        self.note_owned(false);
    }

    fn note_owned(&self, with_backbone: bool) {
        self.parameters.owned.borrow_mut().push(Owned {
            path: self.path.clone(),
            with_backbone,
        });
    }

    /// The device that the tensors are on.
    pub fn device(&self) -> tch::Device {
        self.parameters.device
    }

    /// The element type of the model's precision.
    pub fn kind(&self) -> Kind {
        self.parameters.kind
    }
}

fn empty() -> Tensor {
    Tensor::new()
}

/// A fresh tensor for a parameter of this name.
fn drawn(name: &str, shape: &[i64]) -> Result<Tensor> {
    let options = (Kind::Float, tch::Device::Cpu);
    let tensor = if name.ends_with("bias") || name.ends_with("running_mean") {
        Tensor::f_zeros(shape, options)?
    } else if shape.len() == 1 {
        Tensor::f_ones(shape, options)?
    } else {
        Tensor::f_randn(shape, options)?.f_mul_scalar(INITIAL_STD)?
    };
    Ok(tensor)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn shared_parameters_are_the_same_storage() {
        let parameters = Parameters::random(&Device::cpu(), Precision::Bf16);
        let first = parameters.root().pp("a").pp(0).tensor("weight", &[2, 3]);
        let precise = parameters.root().tensor_f32("scale", &[4]);
        assert_eq!(
            (first.kind(), precise.kind()),
            (Kind::BFloat16, Kind::Float)
        );
        let parameters = parameters.finish().unwrap();
        let again = parameters.share().root().tensor("a.0.weight", &[2, 3]);
        assert_eq!(first.data_ptr(), again.data_ptr());
        assert_eq!((parameters.count(), parameters.bytes()), (10, 28));
        assert_eq!(
            parameters.tensors().keys().collect::<Vec<_>>(),
            ["a.0.weight", "scale"]
        );
    }

    #[test]
    fn what_is_not_held_any_more_is_a_problem() {
        let parameters = Parameters::random(&Device::cpu(), Precision::F32)
            .finish()
            .unwrap();
        let late = parameters.root().tensor("late", &[1]);
        assert!(late.numel() == 0);
        let message = parameters.finish().err().unwrap().to_string();
        assert!(message.contains("late: is not held"), "{message}");
    }
}
