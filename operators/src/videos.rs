//! What the operators that open videos share: deadlines and errors as the media code and the engine know them.

use clipsieve_engine::operator::{
    BuildContext, Deadline, ErrorKind, Fallback, OperatorError, ParamSpec, ParamType,
};

use crate::media::{DecodeOptions, Interrupt, MediaError};

/// Parameter `seek` of an operator that decodes.
pub const SEEK_PARAM: ParamSpec = ParamSpec {
    name: "seek",
    ty: ParamType::Bool,
    fallback: Fallback::Is("true"),
    unit: None,
    doc: "Whether pictures that no wanted frame depends on may be left undecoded. The frames are the same either way; only damage hidden in a part that is left out can shift them.",
};

/// How a stage decodes: the threads of its placement, and its `seek`.
pub fn decode_options(context: &BuildContext<'_>) -> DecodeOptions {
    DecodeOptions {
        threads: context.placement.threads.max(1),
        seek: context.setting.params.bool("seek"),
    }
}

/// The interrupt that is raised when the deadline comes.
pub fn interrupt_of(deadline: &Deadline) -> Interrupt {
    let deadline = deadline.clone();
    Interrupt::new(move || deadline.expired())
}

impl From<MediaError> for OperatorError {
    fn from(error: MediaError) -> Self {
        let kind = match &error {
            MediaError::Interrupted { .. } => ErrorKind::Timeout,
            _ if error.is_permanent() => ErrorKind::BadInput,
            _ => ErrorKind::Temporary,
        };
        OperatorError::new(kind, error.to_string())
    }
}
