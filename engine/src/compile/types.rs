//! **types**: what flows fits where it flows.
//!
//! Before: inputs are tied to stages. After: each stage knows the kinds of its inputs and of its output, unless something
//! already reported leaves them open. Where an operator can be wired in one way only, its kinds are known even behind a
//! broken stage, so a mistake spreads no further than it has to.

use crate::operator::{OperatorSpec, PortKind, Ports, Signature};
use crate::pipeline::{Code, Diagnostic, quoted};

use super::draft::Draft;

pub(super) fn types(draft: &mut Draft<'_>) {
    let order = draft.order();
    let behind_cycles = (0..draft.stages.len()).filter(|index| !order.contains(index));
    let all: Vec<usize> = order.iter().copied().chain(behind_cycles).collect();
    for index in all {
        let Some(spec) = draft.stages[index].spec else {
            continue;
        };
        match spec.ports {
            Ports::Fixed(ways) => fixed(draft, index, spec, ways),
            Ports::Gather { accepts, output } => gather(draft, index, spec, accepts, output),
        }
    }
}

/// The kinds of a stage's inputs; `None` where a mistake leaves one open.
fn given(draft: &Draft<'_>, index: usize) -> Vec<Option<PortKind>> {
    let inputs = draft.stages[index].inputs.iter();
    inputs
        .map(|input| input.stage.and_then(|from| draft.stages[from].output))
        .collect()
}

fn fixed(draft: &mut Draft<'_>, index: usize, spec: &OperatorSpec, ways: &[Signature]) {
    let given = given(draft, index);
    let stage = &draft.stages[index];
    // Without a `from` that can be relied on, nothing is wrong with the kinds; that was reported.
    let is_open = !stage.from_is_sound || given.is_empty() || spec.is_source();
    let fits = |way: &&Signature| {
        let pairs = given.iter().zip(way.inputs);
        is_open
            || (given.len() == way.inputs.len()
                && pairs
                    .into_iter()
                    .all(|(given, wanted)| given.is_none_or(|kind| kind == *wanted)))
    };
    let mut fitting: Vec<&Signature> = ways.iter().filter(fits).collect();
    if fitting.is_empty() {
        let allowed: Vec<String> = ways.iter().map(|way| list(way.inputs)).collect();
        let message = format!(
            "{} takes {}, got {}",
            quoted(spec.name),
            allowed.join(" or "),
            list(
                &given
                    .iter()
                    .map(|kind| kind.unwrap_or(PortKind("?")))
                    .collect::<Vec<_>>()
            )
        );
        let at = stage
            .inputs
            .first()
            .map_or(stage.key.location, |input| input.location);
        let help = ways
            .iter()
            .filter(|way| way.inputs.len() == given.len())
            .find_map(|way| between(draft, &given, way.inputs));
        let help = help.or_else(|| {
            let mut wider = ways.iter().filter(|way| way.inputs.len() > given.len());
            wider.find_map(|way| beside(draft, index, &given, way.inputs))
        });
        let found = Diagnostic::error(Code::WrongInputs, stage.path("from"), at, message);
        draft.report(found.with_help(help));
        // What it gives may be known all the same.
        fitting = ways.iter().collect();
        draft.stages[index].output = agreed(&fitting, |way| way.output).flatten();
        return;
    }
    let stage = &mut draft.stages[index];
    stage.output = agreed(&fitting, |way| way.output).flatten();
    stage.input_kinds = agreed(&fitting, |way| way.inputs).map(<[PortKind]>::to_vec);
}

/// What all ways say alike.
fn agreed<T: PartialEq>(ways: &[&Signature], part: impl Fn(&Signature) -> T) -> Option<T> {
    let first = part(ways.first()?);
    ways.iter().all(|way| part(way) == first).then_some(first)
}

fn gather(
    draft: &mut Draft<'_>,
    index: usize,
    spec: &OperatorSpec,
    accepts: &[PortKind],
    output: PortKind,
) {
    let given = given(draft, index);
    let mut found = Vec::new();
    for (input, kind) in draft.stages[index].inputs.iter().zip(&given) {
        let Some(kind) = kind.filter(|kind| !accepts.contains(kind)) else {
            continue;
        };
        let allowed: Vec<&str> = accepts.iter().map(|kind| kind.0).collect();
        let message = format!(
            "{} takes {}, got {kind} from {}",
            quoted(spec.name),
            allowed.join(", "),
            quoted(&input.name)
        );
        let path = &*input.path;
        let help = stage_between(&bridges(draft, kind, accepts));
        let at = input.location;
        found.push(Diagnostic::error(Code::WrongInputs, path, at, message).with_help(help));
    }
    let stage = &mut draft.stages[index];
    stage.output = Some(output);
    if found.is_empty() && stage.from_is_sound {
        stage.input_kinds = given.into_iter().collect();
    }
    draft.diagnostics.extend(found);
}

/// The help for inputs that would fit if stages stood between: for every one that does not fit there is an operator.
fn between(draft: &Draft<'_>, given: &[Option<PortKind>], wanted: &[PortKind]) -> Option<String> {
    let mut all = Vec::new();
    for (given, wanted) in given.iter().zip(wanted) {
        let Some(given) = given.filter(|given| given != wanted) else {
            continue;
        };
        let help = stage_between(&bridges(draft, given, &[*wanted]))?;
        if !all.contains(&help) {
            all.push(help);
        }
    }
    (!all.is_empty()).then(|| all.join(", and "))
}

/// The help for a `from` that lacks inputs: with stages of the file that give what is missing.
fn beside(
    draft: &Draft<'_>,
    index: usize,
    given: &[Option<PortKind>],
    wanted: &[PortKind],
) -> Option<String> {
    let mut inputs = draft.stages[index].inputs.iter().zip(given).peekable();
    let names = wanted.iter().map(|kind| {
        if let Some((input, _)) = inputs.next_if(|(_, given)| **given == Some(*kind)) {
            return Some(input.name.as_str());
        }
        let mut stages = draft.stages.iter();
        let other = stages.find(|stage| stage.output == Some(*kind))?;
        Some(other.key.text.as_str())
    });
    let names: Vec<&str> = names.collect::<Option<_>>()?;
    let takes_all = inputs.next().is_none();
    takes_all.then(|| format!("write `from: [{}]`", names.join(", ")))
}

/// Operators that make one of the wanted kinds of the given one alone.
fn bridges(draft: &Draft<'_>, given: PortKind, wanted: &[PortKind]) -> Vec<&'static str> {
    let leads = |spec: &&OperatorSpec| match spec.ports {
        Ports::Fixed(ways) => ways.iter().any(|way| {
            way.inputs == [given] && way.output.is_some_and(|output| wanted.contains(&output))
        }),
        Ports::Gather { accepts, output } => accepts.contains(&given) && wanted.contains(&output),
    };
    let operators = draft.options.registry.iter().filter(leads);
    operators.map(|spec| spec.name).collect()
}

fn stage_between(operators: &[&str]) -> Option<String> {
    let first = operators.first()?;
    let article = if first.starts_with(['a', 'e', 'i', 'o', 'u']) {
        "an"
    } else {
        "a"
    };
    let names: Vec<String> = operators.iter().map(|name| quoted(name)).collect();
    Some(format!(
        "put {article} {} stage between",
        names.join(" or ")
    ))
}

/// `(video, regions)`, or `nothing`.
fn list(kinds: &[PortKind]) -> String {
    match kinds {
        [] => "nothing".to_string(),
        kinds => {
            let names: Vec<&str> = kinds.iter().map(|kind| kind.0).collect();
            format!("({})", names.join(", "))
        }
    }
}
