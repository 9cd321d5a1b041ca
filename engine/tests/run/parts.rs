//! One node does the work of several stages, and whoever takes from one of them sees what it would see of the stage alone.

use clipsieve_engine::operator::{OperatorError, Outcome};

use crate::toy::{Toy, number};

#[test]
fn each_stage_has_its_own_part_and_its_own_name() {
    let mut toy = Toy::new();
    let rows = toy.source(5);
    let node = toy.parts(&["one", "two"], &[rows], |call, inputs| {
        let number = number(&inputs[0])?;
        let second = match call.item.sequence {
            1 => Err(OperatorError::bad_input("odd")),
            2 => Ok(Outcome::Skipped("even".to_owned())),
            3 => return Err(OperatorError::bad_input("both")),
            _ => Ok(Outcome::value(10 * number)),
        };
        Ok(Outcome::Parts(vec![Ok(Outcome::value(number)), second]))
    });
    let after = toy.add_one("after", node);
    toy.tap(after, 0, "two", Some(1));
    let result = toy.tell(&[node, node, after]);
    toy.tap(result, 0, "one", Some(0));
    toy.tap(result, 1, "two", Some(1));
    let table = toy.sink(result);
    for workers in [1, 2] {
        toy.rows_on(workers, &table);
        assert_eq!(
            table.column("one"),
            ["0", "1", "2", "failed: one BadInput both after 1", "4"]
        );
        let two = [
            "0",
            "failed: two BadInput odd after 1",
            "skipped: even",
            "failed: two BadInput both after 1",
            "40",
        ];
        assert_eq!(table.column("two"), two);
        assert_eq!(
            table.column("after"),
            [&["1"], &two[1..4], &["41"]].concat()
        );
    }
}

#[test]
fn a_part_that_may_end_better_is_tried_again() {
    let mut toy = Toy::new();
    let rows = toy.source(2);
    let node = toy.parts(&["one", "two"], &[rows], |call, _| {
        let second = match call.attempt {
            1 => Err(OperatorError::temporary("busy")),
            attempt => Ok(Outcome::value(i64::from(attempt))),
        };
        Ok(Outcome::Parts(vec![Ok(Outcome::value(7_i64)), second]))
    });
    toy.tune(node, |stage| stage.retry.attempts = 2);
    let result = toy.tell(&[node, node]);
    toy.tap(result, 0, "one", Some(0));
    toy.tap(result, 1, "two", Some(1));
    let table = toy.sink(result);
    toy.run().unwrap();
    assert_eq!(table.column("one"), ["7", "7"]);
    assert_eq!(table.column("two"), ["2", "2"]);
}

#[test]
fn a_node_that_answers_for_too_few_stages_is_a_bug_that_fails_rows() {
    let mut toy = Toy::new();
    let rows = toy.source(1);
    let node = toy.parts(&["one", "two"], &[rows], |_, _| {
        Ok(Outcome::Parts(vec![Ok(Outcome::value(7_i64))]))
    });
    let result = toy.tell(&[node, node]);
    toy.tap(result, 0, "one", Some(0));
    toy.tap(result, 1, "two", Some(1));
    let table = toy.sink(result);
    toy.run().unwrap();
    assert_eq!(
        table.column("two"),
        [
            "failed: two Internal it answered for 1 stages where the plan has 2 (a bug in the operator) after 1"
        ]
    );
}
