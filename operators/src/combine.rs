//! `combine`: one verdict from a network's and what was measured.

use clipsieve_engine::operator::{
    BuildContext, Call, Executor, Fallback, Finding, Operator, OperatorError, OperatorSpec,
    Outcome, ParamSpec, ParamType, Ports, Setting, Signature, Transform, Value,
};
use serde_json::{Map, Value as Json, json};

use crate::kinds::{VERDICT, Verdict, rounded};
use crate::rule::{NETWORK, RULE_FILE, Rule, log_odds};

/// The `combine` operator.
pub const COMBINE: OperatorSpec = OperatorSpec {
    name: "combine",
    summary: "lets a verdict rest on the network and on measured signals",
    doc: "\
Takes the verdict of a `classify` stage and those of one or two `measure` stages over the same clip (or the same windows), and \
gives one verdict under the classifier's key, in the same form: `{\"result\": {label: probability}, \"label\", \"prob\"}`, with an \
`evidence` object that says what went in: the network's own probability and each signal.

The rule is `combine.json` in the model's folder: for each input its range, mean and deviation over the clips that it was fitted \
on, a weight for the value and its square, and a few small trees. It is fitted with `clipsieve-training fit-combine`. \
Values beyond the range seen then count as its edge; a signal that is not there counts as the rule says. The `measure` stages \
must sample as those of the training did (`docs/operators.md`, `measure`), for most signals depend on the size of the frames.

A rule is for networks with two labels: it gives the probability of one, and the other gets the rest.",
    example: "simcam: { op: combine, from: [simcam_network, measured], with: { model: simcam } }",
    ports: Ports::Fixed(&[
        Signature { inputs: &[VERDICT, VERDICT], output: Some(VERDICT) },
        Signature { inputs: &[VERDICT, VERDICT, VERDICT], output: Some(VERDICT) },
    ]),
    params: &[ParamSpec {
        name: "model",
        ty: ParamType::Model,
        fallback: Fallback::Required,
        unit: None,
        doc: "The model whose folder holds the rule, by its name under `models:`.",
    }],
    executor: Executor::Cpu,
    concurrency: 0,
    check: Some(check),
    demand: None,
    build,
};

/// The rule of the stage's model.
fn rule(setting: &Setting<'_>) -> Result<Rule, String> {
    let name = setting.params.text("model");
    let model = setting
        .models
        .get(name)
        .ok_or_else(|| format!("no model is called `{name}`"))?;
    let rule = Rule::read(&model.path)?;
    let labels: Vec<&str> = model.facts["labels"]
        .as_array()
        .map(|labels| labels.iter().filter_map(Json::as_str).collect())
        .unwrap_or_default();
    if labels.len() != 2 || !labels.contains(&rule.label.as_str()) {
        return Err(format!(
            "{RULE_FILE} of `{name}` is about the label `{}`, and the model has {}",
            rule.label,
            labels.join(", ")
        ));
    }
    Ok(rule)
}

fn check(setting: &Setting<'_>) -> Vec<Finding> {
    let found = setting
        .models
        .get(setting.params.text("model"))
        .map(|_| rule(setting));
    match found {
        Some(Err(reason)) => vec![
            Finding::param("model", reason)
                .with_help("fit a rule with `clipsieve-training fit-combine`, or take the `classify` stage's verdict as it is"),
        ],
        _ => Vec::new(),
    }
}

fn build(context: &BuildContext<'_>) -> Result<Operator, OperatorError> {
    let rule = rule(&context.setting).map_err(OperatorError::config)?;
    Ok(Operator::Transform(Box::new(Combine { rule })))
}

struct Combine {
    rule: Rule,
}

/// What a `classify` stage says of a clip, if this is that.
fn is_verdict(body: &Map<String, Json>) -> bool {
    body.get("result").is_some_and(Json::is_object)
}

/// What a segment's object holds beside its span: the key and body of what a filter says.
fn inner(segment: &Json) -> Option<(&String, &Map<String, Json>)> {
    let (key, body) = segment
        .as_object()?
        .iter()
        .find(|(key, _)| *key != "duration")?;
    Some((key, body.as_object()?))
}

impl Combine {
    /// The body of one clip's verdict from the network's and the measured ones.
    fn judge(
        &self,
        network: &Map<String, Json>,
        measured: &[&Map<String, Json>],
    ) -> Result<Json, OperatorError> {
        let result = network.get("result").and_then(Json::as_object);
        let (result, probability) = result
            .and_then(|result| Some((result, result.get(&self.rule.label)?.as_f64()?)))
            .ok_or_else(|| {
                OperatorError::bad_input(format!(
                    "the first input says nothing of the label `{}`",
                    self.rule.label
                ))
            })?;
        let signal = |name: &str| {
            measured
                .iter()
                .find_map(|body| body.get("result")?.get(name))
                .ok_or_else(|| {
                    OperatorError::config(format!(
                        "no input measures `{name}`, which the rule needs"
                    ))
                })
        };
        let mut signals = Map::new();
        for name in self.rule.signals() {
            signals.insert(name.to_owned(), signal(name)?.clone());
        }
        let value_of = |name: &str| match name {
            NETWORK => Some(log_odds(probability)),
            name => signals.get(name).and_then(Json::as_f64),
        };
        let combined = rounded(self.rule.probability(value_of), 6);
        let of = |label: &String| {
            if *label == self.rule.label {
                combined
            } else {
                rounded(1.0 - combined, 6)
            }
        };
        let best = result.keys().max_by(|a, b| of(a).total_cmp(&of(b)));
        let judged: Map<String, Json> = result
            .keys()
            .map(|label| (label.clone(), json!(of(label))))
            .collect();
        Ok(json!({
            "result": judged,
            "label": best,
            "prob": best.map(of),
            "evidence": { "network": probability, "signals": signals },
        }))
    }
}

impl Transform for Combine {
    fn apply(&self, _: &Call, inputs: &[Value]) -> Result<Outcome, OperatorError> {
        let verdicts = inputs
            .iter()
            .map(Value::get)
            .collect::<Result<Vec<&Verdict>, _>>()?;
        let [network, measured @ ..] = verdicts.as_slice() else {
            return Err(OperatorError::internal(
                "combine takes a verdict and what was measured",
            ));
        };
        if is_verdict(&network.body) {
            let measured: Vec<_> = measured.iter().map(|verdict| &verdict.body).collect();
            let Json::Object(body) = self.judge(&network.body, &measured)? else {
                return Err(OperatorError::internal("a verdict is an object"));
            };
            return Ok(Outcome::value(Verdict {
                key: network.key.clone(),
                body,
            }));
        }
        let mut body = Map::new();
        for (index, segment) in &network.body {
            let of_segment = |verdict: &&Verdict| {
                verdict
                    .body
                    .get(index)
                    .and_then(inner)
                    .map(|(_, body)| body.clone())
            };
            let bodies: Option<Vec<_>> = measured.iter().map(of_segment).collect();
            let (Some((key, said)), Some(bodies)) = (inner(segment), bodies) else {
                return Err(OperatorError::bad_input(format!(
                    "window {index} is not in all inputs: they must come from the same `windows` of one length and stride"
                )));
            };
            let judged = self.judge(said, &bodies.iter().collect::<Vec<_>>())?;
            body.insert(
                index.clone(),
                json!({ "duration": segment["duration"], key: judged }),
            );
        }
        Ok(Outcome::value(Verdict {
            key: network.key.clone(),
            body,
        }))
    }
}
