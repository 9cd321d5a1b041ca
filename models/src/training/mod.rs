//! Training of the networks of this crate, with plain numbers on the outside.
//!
//! A [`Learner`] holds what is learnt, whatever the network: the weights in f32 by name, AdamW's moments, a moving
//! average of the weights, and the step. Networks are built over the learner's weights anew for each step
//! ([`Parameters::over`](crate::Parameters::over)): that costs nothing beside a step, needs no second way of building a
//! network, and gives training in bf16 for free, as the casts from f32 are part of the graph. A loss goes into
//! [`Learner::descend`]; that is the whole loop.
//!
//! Everything that is drawn follows from the seed and the step's number ([`chance`], never libtorch's generator, which
//! belongs to the whole process), and a checkpoint holds everything else: a run that was cut off goes on as if it had
//! not been.
//!
//! [`ClassifierTrainer`] trains several heads on one backbone; [`export`] writes model folders that the rest of the
//! crate loads. [`DetectionTrainer`] trains a YOLOv8 detector by [`detection_loss`].

mod adamw;
pub mod chance;
mod checkpoint;
mod classifiers;
mod detection;
mod detection_assign;
mod detection_trainer;
pub mod export;
mod initial;
mod learner;
mod loss;
mod schedule;

pub use classifiers::{Batch, ClassifierTrainer, Regularisation, Task};
pub use detection::{DetectionLoss, Gains, detection_loss};
pub use detection_assign::{Alignment, Answer, Cells, Target, assign};
pub use detection_trainer::{DetectionTrainer, LossParts};
pub use initial::PATCHES_RATE;
pub use learner::{Learner, Progress, Recipe};
pub use schedule::Schedule;
