//! V-JEPA 2, the video encoder and its attentive pooler.
//!
//! Paper: Assran et al., "V-JEPA 2: Self-Supervised Video Models Enable Understanding, Prediction and Planning",
//! arXiv 2506.09985. Upstream: Hugging Face transformers 5.23.0, `models/vjepa2`, Apache-2.0; parameter names and
//! numbers follow it, so its checkpoints load as they are.
//!
//! A clip is cut into tubes of 2 frames x 16 x 16 pixels; each becomes a token, in the order time, row, column. There is
//! no class token and no position table: positions enter each attention through a rotation of queries and keys over
//! three axes ([`rope`]). The released weights were trained with a rotation whose two members of a pair turn by
//! different angles; that is kept as it is. Blocks are pre-norm; a last norm closes the encoder. The predictor of the
//! self-supervised training is not used for classification and is not read.
//!
//! Deviations from upstream, none of them visible in f32 beyond rounding:
//! * the patch embedding is a linear layer over unfolded patches instead of a 3-D convolution of the same stride;
//! * angles are computed in f32 and rounded to the model's precision afterwards (upstream computes them in it);
//! * the mean over tokens and the last linear layer are computed in f32.

mod config;
pub mod encoder;
pub mod pooler;
pub mod rope;

pub use config::VJepa2Config;
pub use encoder::{Encoder, Thinning};
pub use pooler::AttentivePooler;
