use clipsieve_engine::plan::render::{Format, logical, physical};

use crate::toy::{Bench, SOUND, TOKEN};

/// Broken in several ways, with names that try to break out of their labels.
const BROKEN: &str = "\
name: 'a \"name\" <b>'
stages:
  rows:    { op: read_rows, with: { uri: a } }
  texts:   { op: fetsh, from: rows }
  counted: { op: count, from: texts, with: { frames: 900 } }
  'od\"d': { op: add, from: cuonted }
  mild:    { op: judge, from: counted, with: { model: mild } }
  result:  { op: collect, from: [mild, counted], when: false }
  table:   { op: write_rows, from: result, with: { uri: out } }
";

#[test]
fn logical_text_of_a_sound_pipeline() {
    let compiled = Bench::set("strict", "false").compile(SOUND);
    insta::assert_snapshot!(logical(&compiled.graph, Format::Text));
}

#[test]
fn logical_text_of_a_broken_pipeline() {
    let compiled = Bench::default().compile(BROKEN);
    insta::assert_snapshot!(logical(&compiled.graph, Format::Text));
}

#[test]
fn logical_dot_of_a_broken_pipeline() {
    let compiled = Bench::default().compile(BROKEN);
    insta::assert_snapshot!(logical(&compiled.graph, Format::Dot));
}

#[test]
fn logical_mermaid_of_a_broken_pipeline() {
    let compiled = Bench::default().compile(BROKEN);
    insta::assert_snapshot!(logical(&compiled.graph, Format::Mermaid));
}

#[test]
fn physical_text() {
    let bench = Bench {
        processes: 2,
        workers: 2,
        ..Bench::default()
    };
    let plan = bench.compile(SOUND).plan.unwrap();
    insta::assert_snapshot!(physical(&plan, Format::Text));
}

#[test]
fn physical_text_on_a_gpu() {
    let bench = Bench {
        device: "cuda:0",
        ..Bench::default()
    };
    let plan = bench.compile(SOUND).plan.unwrap();
    insta::assert_snapshot!(physical(&plan, Format::Text));
}

#[test]
fn physical_dot() {
    let plan = Bench::default().compile(SOUND).plan.unwrap();
    insta::assert_snapshot!(physical(&plan, Format::Dot));
}

#[test]
fn physical_mermaid() {
    let plan = Bench::default().compile(SOUND).plan.unwrap();
    insta::assert_snapshot!(physical(&plan, Format::Mermaid));
}

/// Names as long as real ones, and longer, between many lanes.
const LONG: &str = "\
name: long
stages:
  rows: { op: read_rows, with: { uri: a } }
  texts_of_all_the_rows: { op: fetch, from: rows }
  number_of_letters: { op: count, from: texts_of_all_the_rows }
  inverse_number_of_letters: { op: count, from: texts_of_all_the_rows }
  number_of_letters_in_the_second_half: { op: count, from: texts_of_all_the_rows }
  sum: { op: add, from: [number_of_letters, number_of_letters_in_the_second_half] }
  result:
    op: collect
    from: [number_of_letters, inverse_number_of_letters, number_of_letters_in_the_second_half, sum]
  table: { op: write_rows, from: result, with: { uri: out } }
";

#[test]
fn names_are_never_cut() {
    let compiled = Bench::default().compile(LONG);
    let plan = compiled.plan.unwrap();
    let pictures = [
        logical(&compiled.graph, Format::Text),
        physical(&plan, Format::Text),
    ];
    for picture in &pictures {
        for stage in &compiled.graph.stages {
            assert!(picture.contains(&stage.id), "{picture}");
            assert!(picture.contains(&stage.op), "{picture}");
        }
        assert!(!picture.contains('…'), "{picture}");
        assert!(
            picture.lines().all(|line| line.chars().count() <= 80),
            "{picture}"
        );
    }
    insta::assert_snapshot!(pictures.join("\n"));
}

#[test]
fn text_keeps_to_its_columns_and_keeps_secrets() {
    for text in [SOUND, BROKEN] {
        let compiled = Bench::default().compile(text);
        let plan = compiled.plan.as_ref();
        let pictures = [Format::Text, Format::Dot, Format::Mermaid]
            .into_iter()
            .flat_map(|format| {
                let physical = plan.map(|plan| physical(plan, format));
                [Some(logical(&compiled.graph, format)), physical]
            });
        for picture in pictures.flatten() {
            assert!(!picture.contains(TOKEN));
            assert!(
                !picture.starts_with("toy")
                    || picture.lines().all(|line| line.chars().count() <= 80),
                "{picture}"
            );
        }
    }
}
