//! Training of the starter models.

mod detection;
mod detection_assign;
mod detection_trainer;

pub use detection::{DetectionLoss, Gains, detection_loss};
pub use detection_assign::{Alignment, Answer, Cells, Target, assign};
pub use detection_trainer::{DetectionTrainer, LossParts};
