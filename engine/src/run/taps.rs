//! Answers of nodes, as those who take from the stages behind them see them.

use std::sync::Arc;

use crate::operator::{Answer, ErrorKind, Failure};
use crate::plan::Tap;

/// What a node with parts answers: an answer for each, in the plan's order. No operator ever sees one.
pub(super) struct Parts(pub Vec<Answer>);

/// The answer behind a tap: its part of it, failures under the names that the file has for them there.
pub(super) fn take(tap: &Tap, answer: Answer) -> Answer {
    let answer = match (tap.part, answer) {
        (Some(part), Answer::Value(value)) => {
            let parts = value.get::<Parts>().ok();
            match parts.and_then(|Parts(answers)| answers.get(part)) {
                Some(answer) => answer.clone(),
                None => Answer::Failed(Arc::new(Failure {
                    stage: tap.id.clone(),
                    kind: ErrorKind::Internal,
                    error: "the stage that does its work has no answer for it (a bug)".to_owned(),
                    attempts: 1,
                })),
            }
        }
        (_, answer) => answer,
    };
    let Answer::Failed(failure) = answer else {
        return answer;
    };
    let renamed = tap.renames.iter().find(|(of, _)| *of == failure.stage);
    match renamed {
        Some((_, name)) => Answer::Failed(Arc::new(Failure {
            stage: name.clone(),
            ..Failure::clone(&failure)
        })),
        None => Answer::Failed(failure),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::operator::Value;

    fn failure(stage: &str) -> Answer {
        Answer::Failed(Arc::new(Failure {
            stage: stage.to_owned(),
            kind: ErrorKind::BadInput,
            error: "no".to_owned(),
            attempts: 2,
        }))
    }

    fn told(answer: &Answer) -> String {
        match answer {
            Answer::Value(value) => value.get::<&str>().unwrap().to_string(),
            Answer::Skipped(why) => why.to_string(),
            Answer::Failed(failure) => format!("{} {}", failure.stage, failure.attempts),
        }
    }

    #[test]
    fn a_tap_takes_its_part_and_its_names() {
        let tap = |part| Tap {
            id: "b".to_owned(),
            part,
            renames: vec![("a".to_owned(), "b".to_owned())],
        };
        let parts = || {
            let answers = vec![Answer::Value(Value::new("one")), failure("a")];
            Answer::Value(Value::new(Parts(answers)))
        };
        assert_eq!(told(&take(&tap(Some(0)), parts())), "one");
        assert_eq!(told(&take(&tap(Some(1)), parts())), "b 2");
        assert_eq!(told(&take(&tap(Some(2)), parts())), "b 1");
        assert_eq!(told(&take(&tap(Some(0)), failure("a"))), "b 2");
        assert_eq!(told(&take(&tap(None), failure("other"))), "other 2");
        assert_eq!(
            told(&take(&tap(None), Answer::Skipped("why".into()))),
            "why"
        );
    }
}
