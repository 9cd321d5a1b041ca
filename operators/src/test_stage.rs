//! A stage outside of a run, for the tests of operators that judge.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clipsieve_engine::observe::Tally;
use clipsieve_engine::operator::{
    BuildContext, Call, Deadline, Depot, Disk, Executor, Item, Operator, OperatorError, Outcome,
    Placement, Row, Setting, Value,
};

use crate::kinds::Verdict;

/// What a transform that is built for this setting says of these inputs.
pub fn verdict(
    build: fn(&BuildContext<'_>) -> Result<Operator, OperatorError>,
    setting: Setting<'_>,
    inputs: &[Value],
) -> Result<Verdict, OperatorError> {
    let placement = Placement {
        executor: Executor::Cpu,
        device: None,
        concurrency: 1,
        acquire_timeout: Duration::ZERO,
        threads: 1,
    };
    let operator = build(&BuildContext {
        setting,
        demand: None,
        wishes: &[],
        common: None,
        depot: &Depot::default(),
        placement: &placement,
        scratch: Path::new(""),
        disk: &Disk::unbounded(),
        tally: &Tally::default(),
    })?;
    let Operator::Transform(operator) = operator else {
        panic!("it is a transform");
    };
    let call = Call {
        item: Arc::new(Item::new(0, Row::default(), Deadline::never())),
        attempt: 1,
        deadline: Deadline::never(),
    };
    match operator.apply(&call, inputs)? {
        Outcome::Value(value) => value.get::<Verdict>().cloned(),
        Outcome::Skipped(why) => panic!("skipped: {why}"),
        Outcome::Parts(_) => panic!("it has no parts"),
    }
}
