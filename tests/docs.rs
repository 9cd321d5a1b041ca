//! The documentation says what the program does: tables that are made from the registry and the compiler's codes are
//! fresh, every pipeline in a page compiles, every picture of a graph is the one that is drawn, every link leads somewhere.
//!
//! `CLIPSIEVE_BLESS=1 cargo test --test docs` writes anew what is made, instead of failing.

mod common;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

use clipsieve_engine::compile::{Compiled, Machine, Options, Source, compile};
use clipsieve_engine::operator::{
    Executor, Fallback, Model, OperatorError, OperatorSpec, ParamSpec, ParamType, Planner, Ports,
    Registry, Signature,
};
use clipsieve_engine::pipeline::{Code, format};
use clipsieve_engine::plan::render::{Format, logical, physical};
use clipsieve_operators::kinds::{CLIP, VERDICT};
use clipsieve_operators::stores::SERVICES;

use common::{expect, repository};

/// Pages whose pipelines have to compile. The README is not in every checkout.
const PAGES_WITH_PIPELINES: [&str; 5] = [
    "docs/pipelines.md",
    "docs/operators.md",
    "docs/stores.md",
    "docs/tables.md",
    "README.md",
];

/// Codes that are reported as warnings; all others are errors.
const WARNINGS: [Code; 5] = [
    Code::UnusedParam,
    Code::UnusedModel,
    Code::UnusedStore,
    Code::Oversubscribed,
    Code::LateTimeout,
];

/// Stands in for the operator of `examples/custom_operator.rs`, which is a program of its own.
static COLOURFUL: OperatorSpec = OperatorSpec {
    name: "colourful",
    summary: "a stand-in",
    doc: "",
    example: "",
    ports: Ports::Fixed(&[Signature {
        inputs: &[CLIP],
        output: Some(VERDICT),
    }]),
    params: &[ParamSpec {
        name: "at_least",
        ty: ParamType::Float {
            min: 0.0,
            max: 255.0,
        },
        fallback: Fallback::Is("12"),
        unit: None,
        doc: "",
    }],
    executor: Executor::Cpu,
    concurrency: 0,
    check: None,
    demand: None,
    planner: Planner::NONE,
    build: |_| Err(OperatorError::config("a stand-in is never run")),
};

/// The operators that pages use. A model folder that a page names for the reader is replaced by a fixture: one with
/// `detector` or `regions` in its name by the detector, any other by the classifier.
fn registry() -> Registry {
    let mut registry = clipsieve_operators::registry().with(&COLOURFUL);
    registry.checks.model = |address, stores| {
        let is_detector = address.contains("detector") || address.contains("regions");
        let fixture = if is_detector {
            "yolov8n"
        } else {
            "vjepa2-tiny"
        };
        let folder = repository("tests/fixtures").join(fixture);
        let found =
            (clipsieve_operators::registry().checks.model)(&folder.to_string_lossy(), stores);
        let store = address
            .strip_prefix("store://")
            .and_then(|rest| rest.split('/').next());
        found.map(|model| Model {
            store: store.map(str::to_owned),
            ..model
        })
    };
    registry
}

/// Compiles a pipeline for a machine that is the same everywhere. A param without a default is `clips`; every environment
/// variable is set.
fn compiled(name: &str, text: &str) -> Compiled {
    let registry = registry();
    let once = |sets: &[(String, String)]| {
        let options = Options {
            registry: &registry,
            sets,
            env: &|_| Some("somewhere".to_string()),
            machine: Machine {
                cores: 8,
                memory_bytes: 32 << 30,
                disk_bytes: 1 << 40,
                device: "cpu".to_string(),
            },
            processes: 1,
            workers: 1,
        };
        let text = text.as_bytes();
        compile(&Source { name, text }, &options)
    };
    let first = once(&[]);
    let missing = first
        .diagnostics
        .iter()
        .filter(|found| found.code == Code::MissingParam);
    let sets: Vec<_> = missing
        .filter_map(|found| found.path.strip_prefix("params."))
        .map(|param| (param.to_string(), "clips".to_string()))
        .collect();
    once(&sets)
}

/// A fenced block of a page.
struct Block {
    /// The line of its text, from 1.
    line: usize,
    language: String,
    text: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut is_open = false;
    for (index, line) in page.lines().enumerate() {
        match (line.strip_prefix("```"), is_open) {
            (Some(language), false) => {
                is_open = true;
                blocks.push(Block {
                    line: index + 2,
                    language: language.trim().to_string(),
                    text: String::new(),
                });
            }
            (Some(_), true) => is_open = false,
            (None, true) => {
                if let Some(block) = blocks.last_mut() {
                    block.text.push_str(line);
                    block.text.push('\n');
                }
            }
            (None, false) => {}
        }
    }
    assert!(!is_open, "a block is never closed");
    blocks
}

fn is_pipeline(block: &Block) -> bool {
    block.language == "yaml" && block.text.lines().any(|line| line.starts_with("stages:"))
}

/// Asserts that a page is what it should be, or makes it so.
fn fresh(path: &str, wanted: &str) {
    let file = repository(path);
    let found = fs::read_to_string(&file).unwrap_or_default();
    if found == wanted {
        return;
    }
    if env::var_os("CLIPSIEVE_BLESS").is_some_and(|bless| bless == "1") {
        fs::write(&file, wanted).expect("the page can be written");
        return;
    }
    let pairs = found.lines().zip(wanted.lines());
    let line = pairs.take_while(|(found, wanted)| found == wanted).count();
    panic!(
        "{path} is stale from line {}:\n  has   {}\n  wants {}\nrun `CLIPSIEVE_BLESS=1 cargo test --test docs`",
        line + 1,
        found.lines().nth(line).unwrap_or("the end"),
        wanted.lines().nth(line).unwrap_or("the end"),
    );
}

#[test]
fn the_page_of_operators_is_fresh() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let table = expect(0, folder.path(), &["operators", "--format", "markdown"]);
    let registry = clipsieve_operators::registry();
    let mut page = String::from(
        "# Operators\n\n\
         <!-- made by tests/docs.rs; change operators/src/*.rs and run `CLIPSIEVE_BLESS=1 cargo test --test docs` -->\n\n\
         What an `op:` may be. `clipsieve operators NAME` prints the same on a terminal. How stages are put together is in\n\
         [pipelines.md](pipelines.md).\n\n",
    );
    for line in table.lines() {
        let linked = registry.iter().find_map(|spec| {
            let cell = format!("| `{}` |", spec.name);
            let rest = line.strip_prefix(&cell)?;
            Some(format!("| [`{0}`](#{0}) |{rest}", spec.name))
        });
        let _ = writeln!(page, "{}", linked.as_deref().unwrap_or(line));
    }
    for spec in registry.iter() {
        let arguments = ["operators", spec.name, "--format", "markdown"];
        page.push('\n');
        page.push_str(&expect(0, folder.path(), &arguments));
    }
    fresh("docs/operators.md", &page);
}

#[test]
fn the_services_on_the_page_of_stores_are_fresh() {
    let file = "docs/stores.md";
    let page = fs::read_to_string(repository(file)).expect("the page is there");
    let begins = page.find("<!-- services:").expect("a mark");
    let begins = begins + page[begins..].find('\n').expect("a line") + 1;
    let ends = begins + page[begins..].find("<!-- end -->").expect("a mark");
    let mut wanted = page[..begins].to_string();
    for service in SERVICES {
        let _ = write!(
            wanted,
            "\n**`{}`**: {}.\n\n| setting | what it is |\n|---|---|\n",
            service.name, service.summary
        );
        for setting in service.settings {
            let needed = if setting.required { " (required)" } else { "" };
            let _ = writeln!(wanted, "| `{}`{needed} | {} |", setting.name, setting.doc);
        }
    }
    wanted.push('\n');
    wanted.push_str(&page[ends..]);
    fresh(file, &wanted);
}

/// What the codes of one ten are about.
fn chapter(code: Code) -> &'static str {
    match code.as_str().get(..3) {
        Some("C00") => "The file and its keys",
        Some("C02") => "Params, `--set`, variables",
        Some("C03") => "Names and values",
        Some("C04") => "Resources, and what operators refuse",
        Some("C05") => "Wiring",
        Some("C06") => "Kinds",
        Some("C07") => "Stages that are switched off",
        Some("C08") => "What stages ask of each other",
        Some("C09") => "Where and how wide stages run",
        _ => panic!("{code} belongs to no chapter; name one here"),
    }
}

#[test]
fn the_page_of_diagnostics_is_fresh() {
    let mut page = String::from(
        "# Diagnostics\n\n\
         <!-- made by tests/docs.rs; change engine/src/pipeline/code.rs and run `CLIPSIEVE_BLESS=1 cargo test --test docs` -->\n\n\
         `clipsieve check` reports everything that is wrong with a pipeline file in one run. Each finding has a code that\n\
         stays the same between versions, the path of the key, the line, and mostly a way to mend it. With\n\
         `--format json` the findings are data: `file`, `severity`, `code`, `path`, `location` (`line`, `column`,\n\
         `length`), `message`, `help`.\n\n\
         An error keeps the pipeline from running; the exit code is 2. A warning does not. A finding that is only a\n\
         consequence of another one is left out, so mending one may bring up the next.\n",
    );
    let mut last = "";
    for code in Code::ALL {
        let chapter = chapter(*code);
        if chapter != last {
            let _ = write!(
                page,
                "\n## {chapter}\n\n| code | severity | meaning |\n|---|---|---|\n"
            );
            last = chapter;
        }
        let severity = if WARNINGS.contains(code) {
            "warning"
        } else {
            "error"
        };
        let _ = writeln!(page, "| {code} | {severity} | {} |", code.meaning());
    }
    fresh("docs/diagnostics.md", &page);
}

#[test]
fn every_pipeline_in_a_page_compiles() {
    let mut count = 0;
    let mut check = |place: &str, text: &str| {
        count += 1;
        let compiled = compiled(place, text);
        let found: Vec<_> = compiled
            .diagnostics
            .iter()
            .map(ToString::to_string)
            .collect();
        assert!(found.is_empty(), "{place}:\n{}", found.join("\n"));
    };
    for page in PAGES_WITH_PIPELINES {
        let Ok(text) = fs::read_to_string(repository(page)) else {
            continue;
        };
        for block in blocks(&text).into_iter().filter(is_pipeline) {
            check(&format!("{page}:{}", block.line), &block.text);
        }
    }
    for folder in ["examples", "pipelines"] {
        for file in files(&repository(folder), "yaml") {
            let text = fs::read_to_string(&file).expect("a pipeline");
            check(&file.display().to_string(), &text);
        }
    }
    assert!(count > 10, "only {count} pipelines were found");
}

#[test]
fn every_picture_is_the_one_that_is_drawn() {
    let path = "docs/pipelines.md";
    let page = fs::read_to_string(repository(path)).expect("the page");
    fresh(path, &with_pictures(path, &page));
}

#[test]
fn the_readme_is_fresh() {
    let path = "README.md";
    let Ok(page) = fs::read_to_string(repository(path)) else {
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let table = expect(0, folder.path(), &["operators", "--format", "markdown"]);
    let mark = "<!-- operators -->\n";
    let (before, rest) = page.split_once(mark).expect("a mark");
    let (_, after) = rest.split_once("<!-- end -->").expect("an end");
    let page = format!("{before}{mark}{table}<!-- end -->{after}");
    fresh(path, &with_pictures(path, &page));
}

/// A page with its pictures as they are drawn now. A picture stands between `<!-- graph VIEW NAME -->` and `<!-- end -->`;
/// NAME is the name of a pipeline of the page, or a file. VIEW is `logical`, `physical`, or `mermaid` for the logical one
/// that way.
fn with_pictures(path: &str, page: &str) -> String {
    let mut wanted = String::new();
    let mut rest = page;
    while let Some((before, after)) = rest.split_once("<!-- graph ") {
        let (head, after) = after.split_once(" -->").expect("a closed comment");
        let (view, name) = head.split_once(' ').expect("a view and a name");
        let (_, after) = after.split_once("<!-- end -->").expect("an end");
        let compiled = compiled(name, &pipeline(path, page, name));
        let (language, picture) = match view {
            "logical" => ("text", logical(&compiled.graph, Format::Text)),
            "mermaid" => ("mermaid", logical(&compiled.graph, Format::Mermaid)),
            "physical" => {
                let plan = compiled.plan.as_ref().expect("a plan");
                ("text", physical(plan, Format::Text))
            }
            other => panic!("no view is called `{other}`"),
        };
        let _ = write!(
            wanted,
            "{before}<!-- graph {head} -->\n```{language}\n{picture}```\n<!-- end -->"
        );
        rest = after;
    }
    wanted + rest
}

/// A pipeline by the name that a mark on a page has for it.
fn pipeline(path: &str, page: &str, name: &str) -> String {
    if name.ends_with(".yaml") {
        return fs::read_to_string(repository(name)).expect("a pipeline");
    }
    let line = format!("name: {name}");
    blocks(page)
        .into_iter()
        .filter(is_pipeline)
        .find(|block| block.text.lines().any(|found| found == line))
        .unwrap_or_else(|| panic!("{path} has no pipeline with `{line}`"))
        .text
}

#[test]
fn every_stock_pipeline_stands_in_the_readme() {
    let Ok(page) = fs::read_to_string(repository("README.md")) else {
        return;
    };
    for file in files(&repository("pipelines"), "yaml") {
        let name = file.file_name().expect("a name").to_string_lossy();
        let row = format!("| [`pipelines/{name}`](pipelines/{name}) |");
        assert!(page.contains(&row), "README.md has no row of {name}");
    }
}

#[test]
fn every_key_of_the_format_is_explained() {
    let page = fs::read_to_string(repository("docs/pipelines.md")).expect("the page");
    let sections = [format::TOP, format::PARAM, format::STAGE];
    let keys = sections.into_iter().flatten().map(|key| key.name);
    let settings = [format::STAGE_SETTINGS, format::RETRY, format::LIMITS];
    let settings = settings.into_iter().flatten().map(|spec| spec.name);
    for key in keys
        .chain(settings)
        .chain(format::PARAM_TYPES.iter().copied())
    {
        assert!(
            page.contains(&format!("| `{key}` |")),
            "docs/pipelines.md has no table row of `{key}`"
        );
    }
    let limits = format::LIMITS.iter().chain(format::RETRY);
    for spec in limits.chain(format::STAGE_SETTINGS) {
        if let Fallback::Is(value) = spec.fallback {
            let row = page
                .lines()
                .find(|line| line.starts_with(&format!("| `{}` |", spec.name)));
            assert!(
                row.is_some_and(|row| row.contains(&format!("`{value}`"))),
                "docs/pipelines.md does not say that `{}` is {value} by default",
                spec.name
            );
        }
    }
}

#[test]
fn every_row_in_a_page_is_json() {
    let page = fs::read_to_string(repository("docs/pipelines.md")).expect("the page");
    for block in blocks(&page)
        .into_iter()
        .filter(|block| block.language == "json")
    {
        serde_json::from_str::<serde_json::Value>(&block.text)
            .unwrap_or_else(|error| panic!("docs/pipelines.md:{}: {error}", block.line));
    }
}

#[test]
fn every_link_leads_somewhere() {
    let mut pages = files(&repository("docs"), "md");
    pages.extend(files(&repository("."), "md"));
    for page in pages {
        let text = fs::read_to_string(&page).expect("a page");
        for target in links(&text) {
            let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let folder = page.parent().expect("a folder");
            let file = match path {
                "" => page.clone(),
                path => folder.join(path),
            };
            assert!(file.exists(), "{}: `{target}` is not there", page.display());
            if anchor.is_empty() || file.extension().is_none_or(|found| found != "md") {
                continue;
            }
            let text = fs::read_to_string(&file).expect("a page");
            assert!(
                anchors(&text).iter().any(|known| known == anchor),
                "{}: `{target}` names no heading",
                page.display()
            );
        }
    }
}

/// Targets of the links of a page that lead to files, fenced blocks left out.
fn links(page: &str) -> Vec<String> {
    let mut targets = Vec::new();
    for line in outside_blocks(page) {
        let mut rest = line;
        while let Some((_, after)) = rest.split_once("](") {
            let (target, after) = after.split_once(')').unwrap_or((after, ""));
            if !target.contains("://") && !target.starts_with("mailto:") {
                targets.push(target.to_string());
            }
            rest = after;
        }
    }
    targets
}

/// The anchors that a page's headings have.
fn anchors(page: &str) -> Vec<String> {
    let headings = outside_blocks(page).filter_map(|line| {
        let title = line.trim_start_matches('#');
        (title.len() < line.len()).then(|| title.strip_prefix(' '))?
    });
    let slug = |title: &str| {
        let letters = title.trim().chars().filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c.to_ascii_lowercase()),
            _ => None,
        });
        letters.collect()
    };
    headings.map(slug).collect()
}

fn outside_blocks(page: &str) -> impl Iterator<Item = &str> {
    let mut is_open = false;
    page.lines().filter(move |line| {
        let is_fence = line.starts_with("```");
        is_open ^= is_fence;
        !is_open && !is_fence
    })
}

/// The files of a folder with this extension, in the order of their names.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    files
}
