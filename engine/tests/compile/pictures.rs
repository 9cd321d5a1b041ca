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
